package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"paligemma/internal/engine"
	"paligemma/internal/model"
	"paligemma/internal/tokenizer"
)

const (
	boxText  = "<loc0100><loc0200><loc0300><loc0400> dog"
	maskText = "<loc0000><loc0000><loc1023><loc1023><seg000><seg001><seg002><seg003><seg004><seg005><seg006><seg007><seg008><seg009><seg010><seg011><seg012><seg013><seg014><seg127> cat"
)

// maskTensors are a mask decoder of random weights.
func maskTensors() map[string][]float32 {
	random := rand.New(rand.NewPCG(3, 6))
	tensors := map[string][]float32{}
	for _, m := range model.MaskTensors() {
		n := 1
		for _, d := range m.Shape {
			n *= d
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(random.NormFloat64() * 0.1)
		}
		tensors[m.Name] = values
	}
	return tensors
}

// newMasks makes a mask decoder without an engine.
func newMasks(t testing.TB) *engine.Masks {
	t.Helper()
	masks, err := engine.NewMasks(maskTensors(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(masks.Close)
	return masks
}

func TestFindObjects(t *testing.T) {
	text := boxText + " ; x ; " + maskText
	size := image.Pt(20, 10)
	t.Run("codes", func(t *testing.T) {
		found, err := engine.FindObjects(t.Context(), text, engine.ObjectOptions{Size: size})
		if err != nil || found.Codes != 1 || found.Decodable != 0 || found.DroppedCount != 1 {
			t.Fatalf("%+v, %v", found, err)
		}
		for _, c := range []struct {
			got  any
			want string
		}{
			{found.List(), `[{"label":"dog","box":[3.9101,0.9775,7.8201,2.9326],"normalized":[0.1955,0.0978,0.391,0.2933]},` +
				`{"label":"cat","box":[0,0,20,10],"normalized":[0,0,1,1],"mask":{"codes":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,127]}}]`},
			{found.Pieces(), `[{"text":"x","reason":"text without a box","offset":43}]`},
		} {
			if json, err := json.Marshal(c.got); err != nil || string(json) != c.want {
				t.Errorf("%s, %v; want %s", json, err, c.want)
			}
		}
	})
	t.Run("no objects", func(t *testing.T) {
		found, err := engine.FindObjects(t.Context(), "", engine.ObjectOptions{})
		if err != nil || found.List() == nil || found.Pieces() == nil {
			t.Errorf("%+v, %v: lists are empty, not missing", found, err)
		}
	})
}

// Masks are given to OnMask one after the other, with their measures.
func TestOnMask(t *testing.T) {
	text, size, masks := boxText+" ; "+maskText, image.Pt(20, 10), newMasks(t)
	t.Run("measures", func(t *testing.T) {
		var given []int
		found, err := engine.FindObjects(t.Context(), text+";"+maskText, engine.ObjectOptions{Size: size, Masks: masks,
			OnMask: func(found *engine.Objects, i int, pixels []byte) error {
				o := found.Objects[i]
				given = append(given, i)
				area := 0
				for _, v := range pixels {
					area += int(v)
				}
				if len(pixels) != 200 || o.Mask.Area != area || o.Label != "cat" {
					t.Errorf("object %d, %s: %d pixels, %d set, area %d", i, o.Label, len(pixels), area, o.Mask.Area)
				}
				return nil
			}})
		if err != nil || !slices.Equal(given, []int{1, 2}) || found.Codes != 2 || found.Decodable != 2 {
			t.Fatalf("given %v, %+v, %v", given, found, err)
		}
		m := found.List()
		if len(m) != 3 || m[1].Mask.RLE == nil || !reflect.DeepEqual(m[1], m[2]) || m[0].Mask != nil {
			t.Errorf("%+v", m)
		}
	})
	t.Run("OnMask fails", func(t *testing.T) {
		failure, calls := errors.New("full disk"), 0
		_, err := engine.FindObjects(t.Context(), maskText+";"+maskText, engine.ObjectOptions{Size: size, Masks: masks,
			OnMask: func(*engine.Objects, int, []byte) error { calls++; return failure }})
		if err != failure || calls != 1 {
			t.Errorf("%v after %d masks", err, calls)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		_, err := engine.FindObjects(ctx, maskText+";"+maskText, engine.ObjectOptions{Size: size, Masks: masks,
			OnMask: func(*engine.Objects, int, []byte) error { calls++; cancel(); return nil }})
		if !errors.Is(err, context.Canceled) || calls != 1 {
			t.Errorf("%v after %d masks", err, calls)
		}
	})
}

// An image whose masks would be too large has codes.
func TestFindObjectsTooLarge(t *testing.T) {
	found, err := engine.FindObjects(t.Context(), maskText, engine.ObjectOptions{Size: image.Pt(1<<15, 1<<14), Masks: newMasks(t)})
	if err != nil || found.Codes != 1 || found.Decodable != 0 || found.Objects[0].Mask != nil {
		t.Errorf("%+v, %v", found, err)
	}
}

// An object's confidence is that of the tokens that have a character in it.
func TestObjectConfidence(t *testing.T) {
	spans := []engine.TokenSpan{
		{Span: tokenizer.Span{Start: 0, End: 36}, LogProb: -1},
		{Span: tokenizer.Span{Start: 36, End: 40}, LogProb: -3},
		{Span: tokenizer.Span{Start: 38, End: 38}, LogProb: -100}, // without a character
		{Span: tokenizer.Span{Start: 40, End: 43}, LogProb: -50},
	}
	found, err := engine.FindObjects(t.Context(), boxText+" ; "+boxText, engine.ObjectOptions{Size: image.Pt(9, 9), Spans: spans})
	if err != nil {
		t.Fatal(err)
	}
	if c := found.Objects[0].Confidence; c == nil || *c < 0.1353 || *c > 0.1354 { // e^−2
		t.Errorf("confidence %v", c)
	}
	if c := found.Objects[1].Confidence; c != nil {
		t.Errorf("an object without tokens has the confidence %v", *c)
	}
}
