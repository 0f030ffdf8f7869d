package batch

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"paligemma/internal/batch/source"
)

// cocoLines are records of detect and segment.
const cocoLines = `{"id":"7","image":"a.jpg","width":40,"height":30,"confidence":0.5,"objects":[` +
	`{"label":"cat","box":[1,2,11,22],"confidence":0.9},{"label":"DOG","box":[0,0,4,5]},{"label":"dog","box":[5,5,5,9]},{"label":"cow","box":[0,0,1,1]}],"input":{"image_id":7}}
{"id":"9","error":{"code":"not_found","message":"x"},"image":"b.jpg","input":{"image_id":9}}
{"id":"12345678901","image":"c.jpg","width":4,"height":3,"objects":[` +
	`{"label":"","box":[0,0,4,3],"confidence":0.25,"mask":{"codes":[1],"area":3,"rle":{"size":[3,4],"counts":"06"}}}],"input":{"image_id":12345678901}}
{"id":"12345678902","image":"c.jpg","width":4,"height":3,"objects":[],"input":{"image_id":12345678902}}
`

func cocoShards(t *testing.T, o source.Options) []source.Shard {
	t.Helper()
	shards, err := o.Shards()
	if err != nil {
		t.Fatal(err)
	}
	return shards
}

// TestCOCO: what is written of records, as results of a COCO file and as a data set.
func TestCOCO(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	named := file("named.json", `{"images":[{"id":7,"file_name":"a.jpg"}],"annotations":[{"id":1,"bbox":[1,2,3,4]}],"categories":[{"id":17,"name":"cat","supercategory":"animal"},{"id":90,"name":"dog"}]}`)
	plain := file("plain.json", "\xef\xbb\xbf"+`{"images":[]}`)
	cut := file("cut.json", `{"images":[],"categories":[{"id":1,"name":"c`)
	for _, c := range []struct {
		name, lines string
		args        []string
		want, err   string
	}{
		{"results", cocoLines, []string{named}, `[
{"id":1,"image_id":7,"category_id":17,"bbox":[1,2,10,20],"area":200,"iscrowd":0,"score":0.9},
{"id":2,"image_id":7,"category_id":90,"bbox":[0,0,4,5],"area":20,"iscrowd":0,"score":0.5}
]
`, ""},
		{"results without categories", cocoLines, []string{plain}, `[
{"id":1,"image_id":7,"category_id":1,"bbox":[1,2,10,20],"area":200,"iscrowd":0,"score":0.9},
{"id":2,"image_id":7,"category_id":2,"bbox":[0,0,4,5],"area":20,"iscrowd":0,"score":0.5},
{"id":3,"image_id":7,"category_id":3,"bbox":[0,0,1,1],"area":1,"iscrowd":0,"score":0.5},
{"id":4,"image_id":12345678901,"category_id":4,"bbox":[0,0,4,3],"area":3,"iscrowd":0,"score":0.25,"segmentation":{"size":[3,4],"counts":"06"}}
]
`, ""},
		{"no results", "", []string{named}, "[]\n", ""},
		{"categories that are cut off", "", []string{cut}, "", "cut.json: categories: unexpected EOF"},
		{"data set", cocoLines, []string{"a.jpg"}, `{"images":[
{"id":1,"file_name":"a.jpg","width":40,"height":30},
{"id":3,"file_name":"c.jpg","width":4,"height":3}
],"annotations":[
{"id":1,"image_id":1,"category_id":1,"bbox":[1,2,10,20],"area":200,"iscrowd":0,"score":0.9},
{"id":2,"image_id":1,"category_id":2,"bbox":[0,0,4,5],"area":20,"iscrowd":0,"score":0.5},
{"id":3,"image_id":1,"category_id":3,"bbox":[0,0,1,1],"area":1,"iscrowd":0,"score":0.5},
{"id":4,"image_id":3,"category_id":4,"bbox":[0,0,4,3],"area":3,"iscrowd":0,"score":0.25,"segmentation":{"size":[3,4],"counts":"06"}}
],"categories":[{"id":1,"name":"cat"},{"id":2,"name":"DOG"},{"id":3,"name":"cow"},{"id":4,"name":"object"}]}
`, ""},
		{"empty data set", "", []string{"a.jpg"}, `{"images":[],"annotations":[],"categories":[{"id":1,"name":"cat"}]}` + "\n", ""},
		{"both", "", []string{named, "a.jpg"}, "", "do not go into one file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			f, err := newCOCOFormat(&COCO{Labels: []string{"cat"}}, cocoShards(t, source.Options{Args: c.args}))
			if err == nil {
				err = f.write(&out, func() *recordReader { return newRecordReader(strings.NewReader(c.lines)) })
			}
			switch {
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("%v, want %s", err, c.err)
			case c.err == "" && (err != nil || out.String() != c.want):
				t.Errorf("%v: got\n%s\nwant\n%s", err, out.String(), c.want)
			}
		})
	}
}
