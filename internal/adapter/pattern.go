package adapter

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"paligemma/internal/quote"
	"paligemma/internal/strictjson"
)

// maxPattern bounds a regular expression, in bytes.
const maxPattern = 1 << 12

// maxProgram bounds the regular expressions of a pattern together, in instructions:
// repetitions such as .{1,1000} make many of a few bytes.
const maxProgram = 1 << 16

// patternValue is an entry of rank_pattern or alpha_pattern: a regular expression
// for the names of modules, and the value that they have.
type patternValue struct {
	key   string
	value float64

	plain bool           // key has letters, digits, _ and points only
	match *regexp.Regexp // nil: plain, or one that cannot be evaluated
	size  int            // instructions of match
	err   error          // why not
}

// readPattern reads an object of values, in its order.
func readPattern(r *strictjson.Reader, read func() (float64, error)) ([]patternValue, error) {
	var all []patternValue
	instructions := 0
	err := r.Object(func(key string) error {
		if len(all) == maxNames {
			return fmt.Errorf("more than %d entries", maxNames)
		}
		value, err := read()
		if err != nil {
			return fmt.Errorf("%s: %w", quote.Short(key), err)
		}
		p := compile(key, value)
		if instructions += p.size; instructions > maxProgram {
			return fmt.Errorf("%s: the regular expressions are too large: write the names of the modules", quote.Short(key))
		}
		all = append(all, p)
		return nil
	})
	return all, err
}

// compile prepares an entry.
func compile(key string, value float64) patternValue {
	p := patternValue{key: key, value: value, plain: !strings.ContainsFunc(key, isSpecial)}
	switch {
	case p.plain:
	case len(key) > maxPattern:
		p.err = fmt.Errorf("the key %s is %d bytes long, more than the limit of %d", quote.Short(key), len(key), maxPattern)
	default:
		var err error
		if p.match, p.size, err = compileRegexp(`^(?:.*\.)?(?:` + key + `)$`); err != nil {
			p.err = fmt.Errorf("the key %s is a regular expression that cannot be evaluated here: write the names of the modules", quote.Short(key))
		}
	}
	return p
}

// compileRegexp compiles a regular expression, and counts its instructions. Of too many
// there is only the number.
func compileRegexp(text string) (*regexp.Regexp, int, error) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, 0, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil || len(program.Inst) > maxProgram {
		return nil, maxProgram + 1, err
	}
	match, err := regexp.Compile(text)
	return match, len(program.Inst), err
}

// isSpecial reports whether a character may mean something in a regular
// expression, other than a point.
func isSpecial(r rune) bool {
	return r != '.' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// find returns the value of the first entry that matches a module's name: the
// whole of it, or what comes after one of its points (PEFT's get_pattern_key).
func find(pattern []patternValue, module string, missing float64) (float64, error) {
	for _, p := range pattern {
		if p.err != nil {
			return 0, p.err
		}
		if p.plain && endsWith(module, p.key) || p.match != nil && p.match.MatchString(module) {
			return p.value, nil
		}
	}
	return missing, nil
}

// endsWith reports whether a plain key matches: a point in it stands for any
// character.
func endsWith(module, key string) bool {
	start := len(module) - len(key)
	if start < 0 || start > 0 && module[start-1] != '.' {
		return false
	}
	for i := range len(key) {
		if key[i] != '.' && key[i] != module[start+i] {
			return false
		}
	}
	return true
}
