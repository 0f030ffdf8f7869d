// Package units formats sizes and counts for humans, the same way everywhere:
// decimal units, commas between thousands, and a noun that agrees.
package units

import (
	"fmt"
	"strconv"
)

// Bytes formats a number of bytes in decimal units, of which a kB has 1000:
// "1.9 GB".
func Bytes(n int64) string {
	const prefixes = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v, prefix := float64(n)/1000, 0
	for v >= 999.95 && prefix < len(prefixes)-1 {
		v, prefix = v/1000, prefix+1
	}
	return fmt.Sprintf("%.1f %cB", v, prefixes[prefix])
}

// Number formats n with commas between thousands: "257,153".
func Number[T ~int | ~int64](n T) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	head := (len(digits)-1)%3 + 1
	text := sign + digits[:head]
	for i := head; i < len(digits); i += 3 {
		text += "," + digits[i:i+3]
	}
	return text
}

// Count formats n things, of which one is named one and several many:
// "1 thread", "2 threads".
func Count[T ~int | ~int64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return Number(n) + " " + many
}
