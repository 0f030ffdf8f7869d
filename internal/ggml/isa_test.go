package ggml

import (
	"slices"
	"strings"
	"testing"
)

// limitISA is LimitISA until the test ends.
func limitISA(t *testing.T, name string) {
	t.Helper()
	before := ISA()
	if err := LimitISA(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = LimitISA(before) })
}

// TestInstructionSets runs the tests of kernels with those of each instruction set
// below the highest that this processor has, which they are run with by themselves.
// (Products are for the highest only, or ggml's.)
func TestInstructionSets(t *testing.T) {
	for _, name := range isaNames[:slices.Index(isaNames, ISA())] {
		t.Run(name, func(t *testing.T) {
			limitISA(t, name)
			for name, test := range map[string]func(*testing.T){
				"Gelu": TestGelu, "Rows": TestRows, "Add": TestAdd, "PadTurnedRows": TestPadTurnedRows, "Norms": TestNorms,
				"QuantizedRows": TestQuantizedRows, "FlashAttention": TestFlashAttention, "FlashAttentionNaN": TestFlashAttentionNaN,
				"FlashAttentionBias": TestFlashAttentionBias,
				"AttendCells":        TestAttendCells, "AttendCellsTokens": TestAttendCellsTokens, "AttendCellsNaN": TestAttendCellsNaN,
				"AppendCells": TestAppendCells, "ThreadsAgree": TestThreadsAgree, "SplitRows": TestSplitRows,
				"Largest": TestLargest, "AddLowRank": TestAddLowRank, "LowRank": TestLowRank,
				"LowRankRowsAlone": TestLowRankRowsAlone, "LowRankGroups": TestLowRankGroups, "Factors": TestFactors,
			} {
				t.Run(name, test)
			}
		})
	}
}

// TestLimitISA names instruction sets: those that the processor lacks limit nothing.
func TestLimitISA(t *testing.T) {
	highest := ISA()
	t.Cleanup(func() { _ = LimitISA(highest) })
	for i, name := range isaNames {
		t.Run(name, func(t *testing.T) {
			if err := LimitISA(name); err != nil {
				t.Fatal(err)
			}
			if want := isaNames[min(i, slices.Index(isaNames, highest))]; ISA() != want {
				t.Errorf("kernels for %s, want %s", ISA(), want)
			}
			if b := newKernels(t); multiplies(productTypes[0], 256) && i < slices.Index(isaNames, "avx512_vnni") {
				t.Errorf("%v: products with VNNI", b.Devices())
			}
		})
	}
	for _, name := range []string{"", "AVX2", "sse", "avx512_bf16 "} {
		if err := LimitISA(name); err == nil || !strings.Contains(err.Error(), "baseline, avx2") {
			t.Errorf("%q: %v", name, err)
		}
	}
}
