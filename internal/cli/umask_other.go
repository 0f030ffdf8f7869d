//go:build !unix

package cli

// umask does nothing: permissions are other ones.
func umask(int) int { return 0 }
