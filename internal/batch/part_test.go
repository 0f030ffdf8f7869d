package batch_test

import (
	"fmt"
	"strings"
	"testing"

	"paligemma/internal/batch"
)

// slurm returns what Slurm sets for a task of an array.
func slurm(id, count, first, last, step string) []string {
	return []string{"SLURM_ARRAY_TASK_ID=" + id, "SLURM_ARRAY_TASK_COUNT=" + count, "SLURM_ARRAY_TASK_MIN=" + first, "SLURM_ARRAY_TASK_MAX=" + last, "SLURM_ARRAY_TASK_STEP=" + step}
}

func TestParsePart(t *testing.T) {
	for _, c := range []struct {
		name, text string
		env        []string
		want       string // of the part, or of the error
	}{
		{"one of four", "0/4", nil, "{0 4}"},
		{"last", "3/4", nil, "{3 4}"},
		{"beyond", "4/4", nil, "4/4: the first number is from 0 to 3"},
		{"negative", "-1/4", nil, "-1/4: the first number is from 0 to 3"},
		{"none", "0/0", nil, "want I/N"},
		{"too many", "0/1048577", nil, "want I/N"},
		{"text", "x", nil, "want I/N"},
		{"Slurm", "auto", slurm("2", "4", "0", "3", "1"), "{2 4}"},
		{"Slurm from 5", "auto", slurm("7", "3", "5", "7", "1"), "{2 3}"},
		{"Slurm in steps", "auto", slurm("7", "3", "5", "9", "2"), "{1 3}"},
		{"Slurm in steps, the last beyond", "auto", slurm("9", "3", "5", "10", "2"), "{2 3}"},
		{"Slurm, one task", "auto", slurm("4", "1", "4", "4", "1"), "{0 1}"},
		{"Slurm, a list", "auto", slurm("3", "3", "1", "7", "1"), "not all of 1-7:1: say --shard $SLURM_ARRAY_TASK_ID/N"},
		{"Slurm, not of its array", "auto", slurm("6", "3", "5", "9", "2"), "not all of 5-9:2"},
		{"Slurm, before its array", "auto", slurm("3", "3", "5", "9", "2"), "not all of 5-9:2"},
		{"Slurm, no step", "auto", slurm("5", "3", "5", "7", "0"), "not all of 5-7:0"},
		{"Slurm, nonsense", "auto", slurm("x", "3", "5", "7", "1"), "\"x\" is among the array's numbers"},
		{"Slurm, without the range", "auto", []string{"SLURM_ARRAY_TASK_ID=1", "SLURM_ARRAY_TASK_COUNT=3"}, "{1 3}"},
		{"Slurm, without a number", "auto", []string{"SLURM_ARRAY_TASK_ID=1"}, "not SLURM_ARRAY_TASK_COUNT"},
		{"Kubernetes", "auto", []string{"JOB_COMPLETION_INDEX=1", "JOB_COMPLETIONS=3"}, "{1 3}"},
		{"Kubernetes without a number", "auto", []string{"JOB_COMPLETION_INDEX=1"}, "not JOB_COMPLETIONS: set it"},
		{"Kubernetes without a number, and torchrun", "auto", []string{"JOB_COMPLETION_INDEX=1", "RANK=1", "WORLD_SIZE=2"}, "not JOB_COMPLETIONS: set it"},
		{"OpenMPI", "auto", []string{"OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE=2"}, "{0 2}"},
		{"torchrun", "auto", []string{"RANK=1", "WORLD_SIZE=2"}, "{1 2}"},
		{"two of one mind", "auto", []string{"OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2", "RANK=1", "WORLD_SIZE=2"}, "{1 2}"},
		{"processes of a Slurm task", "auto", append(slurm("1", "4", "0", "3", "1"), "OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE=2"), "a Slurm array says 1/4, and OpenMPI 0/2: say I/N"},
		{"one process of a Slurm task", "auto", append(slurm("1", "4", "0", "3", "1"), "OMPI_COMM_WORLD_RANK=0", "OMPI_COMM_WORLD_SIZE=1"), "{1 4}"},
		{"processes of the only Slurm task", "auto", append(slurm("1", "1", "1", "1", "1"), "OMPI_COMM_WORLD_RANK=1", "OMPI_COMM_WORLD_SIZE=2"), "{1 2}"},
		{"half a word after a whole one", "auto", append(slurm("1", "4", "0", "3", "1"), "RANK=0"), "{1 4}"},
		{"nobody", "auto", nil, "no scheduler says"},
		{"nonsense", "auto", []string{"RANK=x", "WORLD_SIZE=2"}, "RANK and WORLD_SIZE: \"x/2\": want I/N"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := batch.ParsePart(c.text, func(name string) string {
				for _, v := range c.env {
					if value, ok := strings.CutPrefix(v, name+"="); ok {
						return value
					}
				}
				return ""
			})
			if err == nil && fmt.Sprint(got) != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, %v; want %s", got, err, c.want)
			}
		})
	}
}
