package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	root          = "../.."
	maxLines      = 60
	maxComplexity = 15
)

// TestFunctions measures every function outside tests.
func TestFunctions(t *testing.T) {
	allowed := readAllowed(t)
	walk(t, ".go", func(path string, source []byte) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, f := range measure(t, path, source) {
			name := filepath.ToSlash(filepath.Dir(path)) + "." + f.name
			large := f.lines > maxLines || f.complexity > maxComplexity
			if _, may := allowed[name]; large && !may {
				t.Errorf("%s has %d lines and a cyclomatic complexity of %d, want at most %d and %d: split it by meaning", name, f.lines, f.complexity, maxLines, maxComplexity)
			} else if large {
				allowed[name] = true
			}
		}
	})
	for name, needed := range allowed {
		if !needed {
			t.Errorf("functions.txt lists %s, which needs no exception", name)
		}
	}
}

// readAllowed reads functions.txt: names, none of them found yet.
func readAllowed(t *testing.T) map[string]bool {
	t.Helper()
	data, err := os.ReadFile("functions.txt")
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			allowed[line] = false
		}
	}
	return allowed
}

// walk calls visit for each file of the repository with one of the extensions,
// by its path from the root.
func walk(t *testing.T, extension string, visit func(path string, source []byte)) {
	t.Helper()
	count := 0
	for _, top := range []string{"cmd", "internal", "scripts", "third_party"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != extension {
				return err
			}
			source, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			path, err = filepath.Rel(root, path)
			visit(path, source)
			count++
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if count == 0 {
		t.Fatalf("no %s files", extension)
	}
}

// size is how large a function is.
type size struct {
	name              string // of a method after that of its type
	lines, complexity int
}

// measure returns the sizes of a file's functions.
func measure(t *testing.T, path string, source []byte) (sizes []size) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, path, source, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			name = receiver(f.Recv.List[0].Type) + "." + name
		}
		lines := set.Position(f.End()).Line - set.Position(f.Pos()).Line + 1
		sizes = append(sizes, size{name, lines, complexity(f)})
	}
	return sizes
}

// receiver returns the name of a receiver's type.
func receiver(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return receiver(typ.X)
	case *ast.IndexExpr:
		return receiver(typ.X)
	case *ast.IndexListExpr:
		return receiver(typ.X)
	case *ast.Ident:
		return typ.Name
	}
	return "?"
}

// complexity counts the ways through a function: one, and one for each if, for,
// case, && and ||, those of the functions inside included.
func complexity(f *ast.FuncDecl) int {
	n := 1
	ast.Inspect(f, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt:
			n++
		case *ast.CaseClause:
			if node.List != nil {
				n++
			}
		case *ast.CommClause:
			if node.Comm != nil {
				n++
			}
		case *ast.BinaryExpr:
			if node.Op == token.LAND || node.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}

func TestMeasure(t *testing.T) {
	for _, c := range []struct {
		name, source string
		want         size
	}{
		{"empty", "func f() {}", size{"f", 1, 1}},
		{"method", "func (x *T[K]) f() {\n}", size{"T.f", 2, 1}},
		{"if and else", "func f() { if a && b || c {} else if d {} else {} }", size{"f", 1, 5}},
		{"loops", "func f() { for {}; for range x {} }", size{"f", 1, 3}},
		{"switch", "func f() {\nswitch {\ncase a:\ncase b, c:\ndefault:\n}\n}", size{"f", 7, 3}},
		{"select", "func f() { select { case <-a: default: } }", size{"f", 1, 2}},
		{"function inside", "func f() { g := func() { if a {} }; g() }", size{"f", 1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := measure(t, "x.go", []byte("package x\n"+c.source))
			if len(got) != 1 || got[0] != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}
