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

// count returns how many of some records are of the part, if they are dealt out.
func (p Part) count(records int64) int64 {
	n := int64(p.N)
	return (records + n - 1 - int64(p.I)) / n
}

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

// scheduler is one that says in variables which part a process is, and of how many.
type scheduler struct {
	name, index, count string
	read               func(index, count string, getenv func(string) string) (Part, error) // nil: that of the index
}

var schedulers = []scheduler{
	{"a Slurm array", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", slurmPart},
	{"a Kubernetes Indexed Job", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", nil},
	{"OpenMPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", nil},
	{"torchrun", "RANK", "WORLD_SIZE", nil},
}

// autoPart returns the part that the schedulers' variables name. Several of them may
// be there, and one that knows of a single part leaves the parts to the others.
func autoPart(getenv func(string) string) (Part, error) {
	var found Part
	var by string
	for _, s := range schedulers {
		if getenv(s.index) == "" || by != "" && getenv(s.count) == "" {
			continue
		}
		p, err := s.part(getenv)
		switch {
		case err != nil:
			return Part{}, fmt.Errorf("auto: %w", err)
		case by == "" || found.whole():
			found, by = p, s.name
		case !p.whole() && p != found:
			return Part{}, fmt.Errorf("auto: %s says %d/%d, and %s %d/%d: say I/N", by, found.I, found.N, s.name, p.I, p.N)
		}
	}
	if by == "" {
		return Part{}, errors.New("auto: no scheduler says which part this is (Slurm's array, Kubernetes' Indexed Job, OpenMPI, torchrun): say I/N")
	}
	return found, nil
}

// part returns the part that the scheduler's variables name.
func (s scheduler) part(getenv func(string) string) (Part, error) {
	index, count := getenv(s.index), getenv(s.count)
	if count == "" {
		return Part{}, fmt.Errorf("of %s there is %s, but not %s: set it to the number of parts", s.name, s.index, s.count)
	}
	p, err := newPart(index, count)
	if s.read != nil {
		p, err = s.read(index, count, getenv)
	}
	if err != nil {
		return Part{}, fmt.Errorf("%s and %s: %w", s.index, s.count, err)
	}
	return p, nil
}

// slurmPart returns the part of a task of an array, which begins where it was told
// to and may go in steps. An array that is a list, such as 1,5,7, is refused: it is
// mostly what is submitted again of a larger one.
func slurmPart(index, count string, getenv func(string) string) (Part, error) {
	first, last, step := getenv("SLURM_ARRAY_TASK_MIN"), getenv("SLURM_ARRAY_TASK_MAX"), getenv("SLURM_ARRAY_TASK_STEP")
	if first == "" && last == "" && step == "" {
		return newPart(index, count)
	}
	var n [5]int
	for i, text := range []string{index, count, first, last, step} {
		var err error
		if n[i], err = strconv.Atoi(text); err != nil || n[i] < 0 {
			return Part{}, fmt.Errorf("%s is among the array's numbers: want whole ones", quote.Short(text))
		}
	}
	id, tasks, low, high, by := n[0], n[1], n[2], n[3], n[4]
	if by == 0 || id < low || (id-low)%by != 0 || (high-low)/by+1 != tasks {
		return Part{}, fmt.Errorf("the array's tasks are not all of %d-%d:%d: say --shard $SLURM_ARRAY_TASK_ID/N", low, high, by)
	}
	return newPart(strconv.Itoa((id-low)/by), count)
}
