package convert

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"paligemma/internal/quote"
	reader "paligemma/internal/tokenizer"
	"paligemma/internal/units"
)

// imagePiece is the token that stands for a piece of an image.
const imagePiece = "<image>"

// tokenizerFiles are the JSON files next to tokenizer.json.
type tokenizerFiles struct {
	added   []reader.AddedToken // that tokenizer.json may lack, by id
	from    string              // the file that names them
	special map[string]string   // the pieces of bos and eos, where a file names them
}

// readTokenizerFiles reads what completes a tokenizer.json, as transformers
// does: added_tokens_decoder of tokenizer_config.json, or else added_tokens.json
// and special_tokens_map.json.
func readTokenizerFiles(dir string) (tokenizerFiles, error) {
	var errs []error
	var files tokenizerFiles
	var all [3]object
	for i, name := range []string{"tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"} {
		o, err := readObject(filepath.Join(dir, name), &errs)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return files, err
		}
		all[i] = o
	}
	config, added, special := all[0], all[1], all[2]
	files.special = map[string]string{}
	named := []object{config}
	if config.has("added_tokens_decoder") {
		files.from = "tokenizer_config.json"
		decoder := config.object("added_tokens_decoder")
		for id := range decoder.fields {
			files.added = append(files.added, decoder.addedToken(id, id))
		}
	} else {
		files.from = "added_tokens.json"
		named = append(named, special)
		for piece := range added.fields {
			id := added.int(piece, 0)
			files.added = append(files.added, reader.AddedToken{ID: id, Content: piece, Special: piece == imagePiece, Normalized: piece != imagePiece})
		}
	}
	for _, o := range named {
		for _, name := range []string{"bos", "eos"} {
			if piece := o.piece(name + "_token"); piece != "" {
				files.special[name] = piece
			}
		}
	}
	slices.SortFunc(files.added, func(a, b reader.AddedToken) int { return cmp.Compare(a.ID, b.ID) })
	return files, oneLine(errs)
}

// piece gives the text of a token, which may be all there is or a field of it.
func (o object) piece(key string) string {
	if _, nested := o.fields[key].(map[string]any); nested {
		return o.object(key).string("content", "")
	}
	return o.string(key, "")
}

// addedToken gives a token of added_tokens_decoder, whose key is its id.
func (o object) addedToken(key, number string) reader.AddedToken {
	id, err := strconv.Atoi(number)
	if err != nil || id < 0 {
		o.fail(key, "is not a token's id")
	}
	t := o.object(key)
	return reader.AddedToken{
		ID: id, Content: t.string("content", ""), Special: t.bool("special", false),
		SingleWord: t.bool("single_word", false), LStrip: t.bool("lstrip", false), RStrip: t.bool("rstrip", false),
		Normalized: t.bool("normalized", true),
	}
}

// complete adds to a tokenizer the tokens that other files name and, where
// none has <image>, that one at the id that config.json names, behind those for
// objects if these are missing: transformers' processor adds them too.
func (s *settings) complete(source *tokenizerSource) (*reader.File, error) {
	file, files := source.file, source.files
	missing := s.missing(file, files)
	if len(missing) == 0 {
		return file, nil
	}
	// The tokenizers library gives tokens the next ids, whatever a file says.
	next := nextID(file)
	var pieces []string
	for _, a := range missing {
		if a.ID != next {
			return nil, fmt.Errorf("%s lacks the token %s, whose id would be %d and not %d as %s says: %s", source.name, quote.Short(a.Content), next, a.ID, files.source(a, s.imageFrom()), useAnother)
		}
		pieces = append(pieces, a.Content)
		next++
	}
	from := files.source(missing[0], s.imageFrom()) + " names"
	if missing[0].Content == objectPieces()[0] {
		from = "PaliGemma's processor adds"
	}
	s.notes = append(s.notes, fmt.Sprintf("%s lacks %s, which %s: %s", source.name, units.Count(len(missing), "token", "tokens"), from, few(pieces)))
	return file.WithAdded(missing)
}

// missing returns the tokens that a tokenizer.json lacks.
func (s *settings) missing(file *reader.File, files tokenizerFiles) []reader.AddedToken {
	known := maps.Clone(file.Vocab)
	for _, a := range file.Added {
		known[a.Content] = a.ID
	}
	var missing []reader.AddedToken
	for _, a := range files.added {
		if _, ok := known[a.Content]; !ok {
			missing = append(missing, a)
		}
	}
	named := slices.ContainsFunc(missing, func(a reader.AddedToken) bool { return a.Content == imagePiece })
	if _, ok := known[imagePiece]; !ok && !named && len(s.image) > 0 {
		missing = append(missing, s.missingObjects(file, known, len(missing))...)
		missing = append(missing, reader.AddedToken{ID: s.image[0], Content: imagePiece, Special: true})
	}
	return missing
}

// objectPieces returns the tokens for places and masks that PaliGemma's processor
// adds to Gemma's own tokenizer. In the released models they lie before <image>.
func objectPieces() (all []string) {
	for i := range 1024 {
		all = append(all, fmt.Sprintf("<loc%04d>", i))
	}
	for i := range 128 {
		all = append(all, fmt.Sprintf("<seg%03d>", i))
	}
	return all
}

// missingObjects returns the tokens of objectPieces if a tokenizer has none of
// them, and they are what fits between its last token, n added ones behind it,
// and <image>: it is Gemma's own.
func (s *settings) missingObjects(file *reader.File, known map[string]int, n int) (missing []reader.AddedToken) {
	first, pieces := nextID(file)+n, objectPieces()
	if s.image[0] != first+len(pieces) {
		return nil
	}
	for i, piece := range pieces {
		if _, ok := known[piece]; ok {
			return nil
		}
		missing = append(missing, reader.AddedToken{ID: first + i, Content: piece, Normalized: true})
	}
	return missing
}

// nextID returns the first id after those of a tokenizer.json.
func nextID(file *reader.File) int {
	next := 0
	for id := range maps.Values(file.Vocab) {
		next = max(next, id+1)
	}
	for _, a := range file.Added {
		next = max(next, a.ID+1)
	}
	return next
}

// source names the file that a token comes from, or else what names <image>.
func (f tokenizerFiles) source(a reader.AddedToken, image string) string {
	if slices.ContainsFunc(f.added, func(b reader.AddedToken) bool { return a.Content == b.Content }) {
		return f.from
	}
	return image
}

// imageFrom names what says which id <image> has.
func (s *settings) imageFrom() string {
	if s.from == configFile {
		return configFile
	}
	return "PaliGemma's vocabulary"
}
