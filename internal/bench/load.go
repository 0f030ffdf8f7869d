package bench

import (
	"os"
	"strconv"
	"strings"
)

// loadAverage returns how many threads were running or waiting to run on this machine,
// on average over the last minute; 0 if it is not known.
func loadAverage() float64 {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(data), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil || load < 0 {
		return 0
	}
	return load
}
