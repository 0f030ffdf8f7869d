//go:build !rpc

package testdevice

import "errors"

var errNone = errors.New("this build has no devices for tests: use make test-rpc")

func startRPC(int) error { return errNone }
func startFakes() error  { return errNone }
