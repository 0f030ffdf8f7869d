//go:build !rpc

package testdevice

import "errors"

func startRPC(int) error {
	return errors.New("this build has no RPC backend: use make test-rpc")
}
