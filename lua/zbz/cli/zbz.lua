#!/usr/bin/env lua5.4
os.exit(require("zbz.cli").main(arg))
