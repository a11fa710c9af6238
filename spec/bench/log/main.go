// The same record by zap and zerolog: wall nanoseconds a record until all is written.
// Usage: log_go zap|zap-buffered|zerolog|zerolog-diode FILE RECORDS
package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"github.com/rs/zerolog/diode"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

var paths = []string{"/api/v1/users", "/api/v1/orders"}

func runZap(out zapcore.WriteSyncer, n int) {
	config := zapcore.EncoderConfig{TimeKey: "time", LevelKey: "level", NameKey: "logger", MessageKey: "message",
		LineEnding: "\n", EncodeTime: zapcore.RFC3339NanoTimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder}
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(config), out, zap.InfoLevel)).Named("bench")
	for i := 0; i < n; i++ {
		log.Info("user action", zap.String("user_id", "u-1234"), zap.String("action", "login"), zap.Int("status", 200+i%3),
			zap.Float64("duration_ms", 12.375+float64(i%7)), zap.String("path", paths[i%2]))
	}
}

func runZerolog(log zerolog.Logger, n int) {
	for i := 0; i < n; i++ {
		log.Info().Str("user_id", "u-1234").Str("action", "login").Int("status", 200+i%3).
			Float64("duration_ms", 12.375+float64(i%7)).Str("path", paths[i%2]).Msg("user action")
	}
}

func main() {
	if len(os.Args) != 4 {
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	file, err := os.Create(os.Args[2])
	if err != nil {
		panic(err)
	}
	zerolog.TimeFieldFormat = time.RFC3339Nano
	began := time.Now()
	switch os.Args[1] {
	case "zap":
		runZap(zapcore.Lock(file), n)
	case "zap-buffered":
		// Only a writer: its Stop would wait for the disk, which no other contestant does.
		out := &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(struct{ io.Writer }{file})}
		runZap(out, n)
		if err := out.Stop(); err != nil {
			panic(err)
		}
	case "zerolog":
		runZerolog(zerolog.New(file).With().Timestamp().Str("logger", "bench").Logger(), n)
	case "zerolog-diode":
		// Room for all, for it drops what it has no room for.
		out := diode.NewWriter(file, n+1, 0, func(missed int) { panic(missed) })
		runZerolog(zerolog.New(out).With().Timestamp().Str("logger", "bench").Logger(), n)
		out.Close()
	default:
		os.Exit(2)
	}
	fmt.Printf("%.1f\n", float64(time.Since(began).Nanoseconds())/float64(n))
}
