//go:build !unix

package ggml

import "os"

var stopAndContinue []os.Signal
