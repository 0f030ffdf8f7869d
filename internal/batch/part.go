package batch

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"paligemma/internal/quote"
)

// Part is the part of the inputs that a run answers: the one of index I of N. The
// zero value is all of them.
type Part struct{ I, N int }

// whole reports whether the part is everything.
func (p Part) whole() bool { return p.N <= 1 }

// mine reports whether the input with an ordinal is of the part.
func (p Part) mine(ordinal int64) bool { return p.whole() || ordinal%int64(p.N) == int64(p.I) }

// suffix is what tells the outputs of parts apart.
func (p Part) suffix() string {
	if p.whole() {
		return ""
	}
	return fmt.Sprintf("-%d-of-%d", p.I, p.N)
}

// maxParts bounds the N of I/N.
const maxParts = 1 << 20

// ParsePart reads I/N, or auto: what the variables of schedulers say.
func ParsePart(text string, getenv func(string) string) (Part, error) {
	if text == "auto" {
		return autoPart(getenv)
	}
	index, count, ok := strings.Cut(text, "/")
	if !ok {
		return Part{}, fmt.Errorf("%s: want I/N, such as 0/4, or auto", quote.Short(text))
	}
	return newPart(index, count)
}

func newPart(index, count string) (Part, error) {
	i, err1 := strconv.Atoi(index)
	n, err2 := strconv.Atoi(count)
	switch {
	case err1 != nil || err2 != nil || n < 1 || n > maxParts:
		return Part{}, fmt.Errorf("%s: want I/N, such as 0/4, or auto", quote.Short(index+"/"+count))
	case i < 0 || i >= n:
		return Part{}, fmt.Errorf("%d/%d: the first number is from 0 to %d", i, n, n-1)
	}
	return Part{i, n}, nil
}

// schedulers are the variables that say which part a process is, and of how many.
// Slurm's arrays begin where they are told to.
var schedulers = []struct{ name, index, count, first string }{
	{"a Slurm array", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"},
	{"a Kubernetes Indexed Job", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", ""},
	{"OpenMPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", ""},
	{"torchrun", "RANK", "WORLD_SIZE", ""},
}

// autoPart returns the part that a scheduler's variables name.
func autoPart(getenv func(string) string) (Part, error) {
	for _, s := range schedulers {
		index, count := getenv(s.index), getenv(s.count)
		if index == "" {
			continue
		}
		if count == "" {
			return Part{}, fmt.Errorf("auto: of %s there is %s, but not %s: set it to the number of parts", s.name, s.index, s.count)
		}
		if first := getenv(s.first); s.first != "" && first != "" {
			i, err1 := strconv.Atoi(index)
			low, err2 := strconv.Atoi(first)
			if err := errors.Join(err1, err2); err != nil {
				return Part{}, fmt.Errorf("auto: %s and %s: want whole numbers", s.index, s.first)
			}
			index = strconv.Itoa(i - low)
		}
		p, err := newPart(index, count)
		if err != nil {
			return p, fmt.Errorf("auto: %s and %s: %w", s.index, s.count, err)
		}
		return p, nil
	}
	return Part{}, errors.New("auto: no scheduler says which part this is (Slurm's array, Kubernetes' Indexed Job, OpenMPI, torchrun): say I/N")
}
