package emulated

import (
	"slices"
	"testing"
)

func TestCommand(t *testing.T) {
	for _, c := range []struct {
		emulator string
		emulated bool
		want     []string
	}{
		{"", false, []string{"/tests/a b", "-x", "y z"}},
		{"qemu-aarch64 -L  /usr/aarch64-linux-gnu", true, []string{"qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "/tests/a b", "-x", "y z"}},
	} {
		t.Run(c.emulator, func(t *testing.T) {
			t.Setenv(emulator, c.emulator)
			if got := Command("/tests/a b", "-x", "y z").Args; !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if Processor() != c.emulated {
				t.Error("emulated:", !c.emulated)
			}
		})
	}
}
