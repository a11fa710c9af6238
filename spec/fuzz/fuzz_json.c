/* JSON. */
#include "fuzz_lua.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	fuzz_codec(ZBZ_CODEC_JSON, zbz_b(data, size));
	return 0;
}
