package batch

import (
	"fmt"
	"strconv"
	"strings"

	"paligemma/internal/quote"
)

// MaxFailures is how many records may be failures before a run ends. The zero value
// is any number.
type MaxFailures struct {
	count   int64
	percent float64
	set     bool
}

// percentFrom is how many records there must be before a share of them means something.
const percentFrom = 100

// ParseMaxFailures reads a number or a share: 10 or 5%.
func ParseMaxFailures(text string) (MaxFailures, error) {
	if share, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(share, 64)
		if err != nil || !(p >= 0 && p <= 100) {
			return MaxFailures{}, fmt.Errorf("%s: want a share from 0%% to 100%%", quote.Short(text))
		}
		return MaxFailures{percent: p, count: -1, set: true}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return MaxFailures{}, fmt.Errorf("%s: want a number, 0 or more, or a share such as 5%%", quote.Short(text))
	}
	return MaxFailures{count: n, set: true}, nil
}

// check returns an error where too many of the records are failures.
func (m MaxFailures) check(failed, records int64) error {
	switch {
	case !m.set:
		return nil
	case m.count >= 0 && failed > m.count:
		return &FailuresError{fmt.Sprintf("%d of %d records failed, which is more than --max-failures %d", failed, records, m.count)}
	case m.count < 0 && records >= percentFrom && float64(failed) > m.percent/100*float64(records):
		return &FailuresError{fmt.Sprintf("%d of %d records failed, which is more than --max-failures %g%%", failed, records, m.percent)}
	}
	return nil
}

// FailuresError says that a run ended because too many records failed.
type FailuresError struct{ message string }

// Error says how many there are.
func (e *FailuresError) Error() string { return e.message }
