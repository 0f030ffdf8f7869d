// Package tokenizers says where the static library of
// github.com/daulet/tokenizers lies: that package links with -ltokenizers but
// names no folder. It is imported for its link flags alone.
//
// `make native` builds the library with cargo from the module's own folder.
package tokenizers

// #cgo LDFLAGS: -L${SRCDIR}/../../build/lib
import "C"
