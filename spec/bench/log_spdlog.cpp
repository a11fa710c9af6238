// The same record by spdlog: wall nanoseconds a record until all is written. Usage: log_spdlog sync|flush|async FILE RECORDS
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

int main(int argc, char **argv) {
	if (argc != 4) return 2;
	const std::string mode = argv[1], file = argv[2];
	const int n = std::stoi(argv[3]);
	const char *paths[] = { "/api/v1/users", "/api/v1/orders" };
	std::shared_ptr<spdlog::logger> log;
	if (mode == "async") {
		spdlog::init_thread_pool(8192, 1);
		log = spdlog::basic_logger_mt<spdlog::async_factory>("bench", file, true);
	} else {
		log = spdlog::basic_logger_mt("bench", file, true);
	}
	if (mode == "flush") log->flush_on(spdlog::level::info);
	log->set_pattern("{\"time\":\"%Y-%m-%dT%H:%M:%S.%fZ\",\"level\":\"%l\",\"logger\":\"%n\",%v}", spdlog::pattern_time_type::utc);
	const auto began = std::chrono::steady_clock::now();
	for (int i = 0; i < n; i++) {
		log->info("\"message\":\"user action\",\"user_id\":\"{}\",\"action\":\"{}\",\"status\":{},\"duration_ms\":{},\"path\":\"{}\"", "u-1234",
		          "login", 200 + i % 3, 12.375 + i % 7, paths[i % 2]);
	}
	log->flush();
	log.reset();
	spdlog::shutdown();
	const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - began;
	std::printf("%.1f\n", took.count() / n);
	return 0;
}
