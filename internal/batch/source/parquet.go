package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"paligemma/internal/atomicfile"
	"paligemma/internal/quote"
	"paligemma/internal/result"
)

// parquetShard is that of a Parquet file: a record a row.
func (o *Options) parquetShard(file string) Shard {
	return Shard{Path: file, read: func(r *reading) {
		if err := o.parquetRows(r, file); err != nil {
			r.fail(err)
		}
	}}
}

// parquetRows yields the rows of a file. The library panics at some damaged files.
func (o *Options) parquetRows(r *reading, path string) (err error) {
	yielding := false // a panic of the consumer is passed on
	defer func() {
		if !yielding {
			if p := recover(); p != nil {
				err = fmt.Errorf("the file is damaged: %s", quote.Line(fmt.Sprint(p), quote.Max))
			}
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return atomicfile.Cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return atomicfile.Cause(err)
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	if err := checkFooter(f, info.Size()); err != nil {
		return err
	}
	file, err := parquet.OpenFile(f, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return quote.Error(err)
	}
	t, err := o.newTable(file.Schema(), path)
	if err != nil {
		return err
	}
	defer t.close()
	row := int64(0)
	for i, group := range file.RowGroups() {
		if err := t.begin(file, i); err != nil {
			return err
		}
		for range group.NumRows() {
			rec, err := t.record(row)
			if err != nil {
				return err
			}
			row++
			yielding = true
			more := r.yield(rec)
			yielding = false
			if !more {
				return nil
			}
		}
		t.end()
	}
	return nil
}

// table is what is read of a Parquet file's columns; nil: there is no such column.
type table struct {
	options     *Options
	file        string
	limit       int64 // of an image, in bytes
	bytes, path *column
	prompt, id  *column
	all         []*column
}

// newTable finds the columns.
func (o *Options) newTable(schema *parquet.Schema, file string) (*table, error) {
	t := &table{options: o, file: file, limit: o.maxBytes(file)}
	name := o.ImageColumn
	if name == "" {
		name = "image"
	}
	if leaf, ok := schema.Lookup(name); ok {
		if isText(leaf.Node) {
			t.path = t.add(leaf)
		} else {
			t.bytes = t.add(leaf)
		}
	} else {
		if leaf, ok := schema.Lookup(name, "bytes"); ok {
			t.bytes = t.add(leaf)
		}
		if leaf, ok := schema.Lookup(name, "path"); ok {
			t.path = t.add(leaf)
		}
	}
	var err error
	if t.prompt, err = t.optional(schema, "prompt-column", o.PromptColumn, "prompt"); err != nil {
		return nil, err
	}
	if t.id, err = t.optional(schema, "id-column", o.IDColumn, "id"); err != nil {
		return nil, err
	}
	if t.bytes == nil && t.path == nil {
		return nil, fmt.Errorf("no image column %s: name one of %s with --image-column", quote.Short(name), columnNames(schema))
	}
	for _, c := range t.all {
		if c.leaf.MaxRepetitionLevel > 0 {
			return nil, fmt.Errorf("column %s is a list: want one value a row", quote.Short(strings.Join(c.leaf.Path, ".")))
		}
	}
	return t, nil
}

// isText reports whether a column of byte arrays is of strings.
func isText(node parquet.Node) bool {
	if logical := node.Type().LogicalType(); logical != nil {
		_, text := logical.Value.(*format.StringType)
		return text
	}
	converted := node.Type().ConvertedType()
	return converted != nil && *converted == deprecated.UTF8
}

// columnNames lists the columns of a schema, in a message.
func columnNames(schema *parquet.Schema) string {
	var names []string
	for _, field := range schema.Fields() {
		names = append(names, field.Name())
	}
	return quote.Line(strings.Join(names, ", "), 2*quote.Max)
}

// optional finds a column that a flag names, or one of the usual name if there is one.
func (t *table) optional(schema *parquet.Schema, flag, name, usual string) (*column, error) {
	if name == "" {
		if leaf, ok := schema.Lookup(usual); ok && leaf.MaxRepetitionLevel == 0 {
			return t.add(leaf), nil
		}
		return nil, nil
	}
	leaf, ok := schema.Lookup(strings.Split(name, ".")...)
	if !ok {
		return nil, fmt.Errorf("--%s %s: the columns are %s", flag, quote.Short(name), columnNames(schema))
	}
	return t.add(leaf), nil
}

func (t *table) add(leaf parquet.LeafColumn) *column {
	c := &column{leaf: leaf}
	t.all = append(t.all, c)
	return c
}

// begin goes to the first row of a group.
func (t *table) begin(file *parquet.File, group int) error {
	chunks, meta := file.RowGroups()[group].ColumnChunks(), &file.Metadata().RowGroups[group]
	for _, c := range t.all {
		i := c.leaf.ColumnIndex
		if err := c.check.begin(file, file.Size(), &meta.Columns[i].MetaData, c.leaf.MaxDefinitionLevel, meta.NumRows); err != nil {
			return err
		}
		c.pages, c.values = chunks[i].Pages(), nil
	}
	return nil
}

// end closes what begin opened.
func (t *table) end() {
	for _, c := range t.all {
		if c.page != nil {
			parquet.Release(c.page)
			c.page = nil
		}
		if c.pages != nil {
			c.pages.Close()
			c.pages = nil
		}
	}
}

// close ends what reading used.
func (t *table) close() {
	t.end()
	for _, c := range t.all {
		c.check.inflater.close()
	}
}

// record reads the next row.
func (t *table) record(row int64) (Record, error) {
	rec := Record{ID: fmt.Sprintf("%s#%d", t.file, row)}
	var image Image
	for _, c := range t.all {
		v, err := c.next()
		if err != nil {
			return rec, err
		}
		if v.IsNull() {
			continue
		}
		switch c {
		case t.bytes:
			if b := v.ByteArray(); int64(len(b)) > t.limit {
				image.Err = tooLong(rec.ID, t.limit)
			} else {
				image.Data = append([]byte{}, b...)
			}
		case t.path:
			image.Name = string(v.ByteArray())
		case t.prompt:
			text := valueText(v)
			rec.Prompt = &text
		case t.id:
			rec.ID = valueText(v)
		}
	}
	switch {
	case image.Data == nil && image.Err == nil && image.Name == "":
		rec.Err = result.RequestError{Err: fmt.Errorf("row %d has no image", row)}
		return rec, nil
	case image.File():
		image = t.options.namedImage(t.file, image.Name)
	case image.Name == "":
		image.Name = rec.ID
	}
	rec.Images = []Image{image}
	return rec, nil
}

// valueText returns a value as an id.
func valueText(v parquet.Value) string {
	switch v.Kind() {
	case parquet.ByteArray, parquet.FixedLenByteArray:
		return string(v.ByteArray())
	case parquet.Int32:
		return strconv.FormatInt(int64(v.Int32()), 10)
	case parquet.Int64:
		return strconv.FormatInt(v.Int64(), 10)
	}
	text, _ := json.Marshal(v.String())
	return strings.Trim(string(text), `"`)
}

// column reads the values of a column without lists: one a row.
type column struct {
	leaf   parquet.LeafColumn
	check  pageChecker
	pages  parquet.Pages
	page   parquet.Page
	values parquet.ValueReader
	buf    [1]parquet.Value
}

// next returns the value of the next row. It is valid until the next call.
func (c *column) next() (parquet.Value, error) {
	for {
		if c.values != nil {
			n, err := c.values.ReadValues(c.buf[:])
			if n == 1 {
				return c.buf[0], nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return parquet.Value{}, quote.Error(err)
			}
		}
		if c.page != nil {
			parquet.Release(c.page)
			c.page, c.values = nil, nil
		}
		if err := c.check.next(); err != nil {
			return parquet.Value{}, fmt.Errorf("column %s: %w", quote.Short(strings.Join(c.leaf.Path, ".")), quote.Error(err))
		}
		page, err := c.pages.ReadPage()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("column %s ends early", strings.Join(c.leaf.Path, "."))
		}
		if err != nil {
			return parquet.Value{}, quote.Error(err)
		}
		c.page, c.values = page, page.Values()
	}
}
