package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"paligemma/internal/batch"
	"paligemma/internal/quote"
	"paligemma/internal/units"
)

// batchCommand is what is done with the results of runs with --output.
func (a *app) batchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "batch COMMAND",
		Short: "Check and merge the results of --output",
		Long: `Check and merge what commands with --output have written, all parts (--shard) of it.
OUTPUT is the value of --output: a folder or a file.`,
		Example: `  paligemma batch verify out/
  paligemma batch merge out/ -o all.parquet`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("COMMAND is missing: verify or merge")}
			}
			return usageError{fmt.Errorf("unknown command %s: want verify or merge", quote.Short(args[0]))}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.batchVerifyCommand(), a.batchMergeCommand())
	return cmd
}

func (a *app) batchVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify OUTPUT",
		Short: "List what is missing, failed or double in results",
		Long: `List what is missing, failed or there twice in the results of --output: a line for each
finding, with the file, the number of the record, its id and what is wrong with it.

    missing      a file of results: no run has begun it
    incomplete   a file of results: its run was broken off, or it lacks inputs that were added
    other        a file of results: its part has other inputs than those that were shared out
    failed       a record: --retry-failed asks it again
    double       an id that an earlier record has
    damaged      a line that is not a record

The exit code is 3 if there are any.`,
		Example: `  paligemma batch verify out/
  paligemma batch verify captions.jsonl --json`,
		Args: argsBetween(1, 1, "OUTPUT"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runBatchVerify(cmd.Context(), args[0]) },
	}
}

func (a *app) runBatchVerify(ctx context.Context, path string) error {
	p := a.newPrinter(layout{many: true, lines: true})
	v, err := batch.Verify(ctx, path, func(f batch.Finding) error {
		if p.format != formatText {
			return p.object(f)
		}
		record := ""
		if f.Record > 0 {
			record = strconv.FormatInt(f.Record, 10)
		}
		message := f.Message
		if f.Code != "" {
			message = f.Code + ": " + message
		}
		return p.row("", f.Kind, f.File, record, f.ID, message)
	})
	if err == nil {
		err = p.close()
	}
	if err != nil {
		return err
	}
	a.note("%s, %s, %s failed", units.Count(v.Files, "file", "files"), units.Count(int(v.Records), "record", "records"), units.Number(int(v.Failed)))
	if v.Findings > 0 {
		return findingsError{int(v.Findings)}
	}
	return nil
}

// findingsError says that results are not as they should be.
type findingsError struct{ n int }

// Error says how many findings there are.
func (e findingsError) Error() string { return units.Count(e.n, "finding", "findings") }

func (a *app) batchMergeCommand() *cobra.Command {
	var output string
	var overwrite bool
	cmd := &cobra.Command{
		Use:   "merge OUTPUT -o FILE",
		Short: "Make one file of complete results",
		Long: `Make one FILE of the complete results of --output, in the order of their inputs. FILE is
.jsonl, .json, .csv, .parquet or .tar; tables (.csv, .parquet) become tables alone.`,
		Example: `  paligemma batch merge out/ -o all.jsonl`,
		Args:    argsBetween(1, 1, "OUTPUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output == "" {
				return usageError{errors.New("--output is missing: name a file")}
			}
			if err := batch.Merge(cmd.Context(), args[0], output, overwrite); err != nil {
				return fmt.Errorf("merge: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "the `FILE`: .jsonl, .json, .csv, .parquet or .tar")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "replace the file if it exists")
	return cmd
}
