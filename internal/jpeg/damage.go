package jpeg

import "fmt"

// damage counts what was mended in a file.
type damage struct {
	short      int  // segments of scans that lack data
	codes      int  // codes that are not in their table, or lead out of a block
	restarts   int  // restart markers that are missing or out of order
	skipped    int  // bytes between segments
	scans      int  // scans that do not go with those before them
	components int  // components without data
	smoothed   bool // coefficients were estimated
	noEnd      bool
}

// warnings describes the damage in phrases.
func (d *damage) warnings() (out []string) {
	add := func(n int, one, many string) {
		switch {
		case n == 1:
			out = append(out, one)
		case n > 1:
			out = append(out, fmt.Sprintf(many, n))
		}
	}
	add(d.short, "a scan ends early", "scans end early in %d places")
	add(d.codes, "an invalid code in a scan", "%d invalid codes in scans")
	add(d.restarts, "a restart marker is missing or out of order", "%d restart markers are missing or out of order")
	add(d.skipped, "a byte between segments is skipped", "%d bytes between segments are skipped")
	add(d.scans, "a progressive scan does not fit the scans before it", "%d progressive scans do not fit the scans before them")
	add(d.components, "a color component has no data", "%d color components have no data")
	if d.smoothed {
		out = append(out, "the scans are incomplete: details are estimated")
	}
	if d.noEnd {
		out = append(out, "there is no end marker")
	}
	return out
}
