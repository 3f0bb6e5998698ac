package domain

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/codes.md")

const codesPage = "../docs/codes.md"

func TestTheDocsListEveryCode(t *testing.T) {
	t.Parallel()
	var page strings.Builder
	page.WriteString(`# Codes of refusals

Generated from ` + "`domain/codes.go`" + ` by ` + "`go test ./domain -update`" + `.

Every refusal has a stable ` + "`code`" +
		`; clients decide by it and not by the text. "Where" gives the HTTP status of a
problem with this code, and "field" if the code also appears in ` + "`errors`" + `, for one field. In the answer to an
import, any of these codes may also be that of a line.
`)
	for _, section := range Codes {
		fmt.Fprintf(&page, "\n## %s\n\n| code | where | what it means | what to do |\n|---|---|---|---|\n",
			section.Title)
		for _, entry := range section.Entries {
			var where []string
			if entry.Status != 0 {
				where = append(where, strconv.Itoa(entry.Status))
			}
			if entry.Field {
				where = append(where, "field")
			}
			if where == nil {
				where = []string{"at the start"}
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", entry.Code, strings.Join(where, ", "), entry.Meaning,
				entry.Fix)
		}
	}
	if *update {
		if err := os.WriteFile(codesPage, []byte(page.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stands, err := os.ReadFile(codesPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(stands)); diff != "" {
		t.Errorf("docs/codes.md is not what domain/codes.go says: go test ./domain -update\n%s", diff)
	}
}

// sources are the Go files of the repository except its tests, by their path.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path != ".." && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata") {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files[path], err = parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// isCodeType tells the type Code, as it is written in this package or in another one.
func isCodeType(expression ast.Expr) bool {
	switch e := expression.(type) {
	case *ast.Ident:
		return e.Name == "Code"
	case *ast.SelectorExpr:
		from, ok := e.X.(*ast.Ident)
		return ok && from.Name == "domain" && e.Sel.Name == "Code"
	}
	return false
}

// takesCode finds the functions that take a Code, with its place among their parameters.
func takesCode(files map[string]*ast.File) map[string]int {
	found := map[string]int{}
	for _, file := range files {
		for _, declaration := range file.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			place := 0
			for _, parameter := range function.Type.Params.List {
				if isCodeType(parameter.Type) {
					found[function.Name.Name] = place
				}
				place += max(1, len(parameter.Names))
			}
		}
	}
	return found
}

func nameOf(function ast.Expr) string {
	switch f := function.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	case *ast.IndexExpr:
		return nameOf(f.X)
	}
	return ""
}

func isText(expression ast.Expr) bool {
	literal, ok := expression.(*ast.BasicLit)
	return ok && literal.Kind == token.STRING
}

// haveCode finds the structs with a field that is a Code, by their names.
func haveCode(files map[string]*ast.File) map[string]bool {
	found := map[string]bool{}
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			declared, isType := node.(*ast.TypeSpec)
			if !isType {
				return true
			}
			if structure, ok := declared.Type.(*ast.StructType); ok {
				for _, field := range structure.Fields.List {
					found[declared.Name.Name] = found[declared.Name.Name] || isCodeType(field.Type)
				}
			}
			return true
		})
	}
	return found
}

// hasTypedCode says whether a literal of such a struct, or of a list of them, has text where the Code stands.
func hasTypedCode(literal *ast.CompositeLit, structs map[string]bool) bool {
	list, isList := literal.Type.(*ast.ArrayType)
	if !isList {
		return structs[nameOf(literal.Type)] && textAtCode(literal)
	}
	return structs[nameOf(list.Elt)] && slices.ContainsFunc(literal.Elts, func(element ast.Expr) bool {
		inner, ok := element.(*ast.CompositeLit)
		return ok && inner.Type == nil && textAtCode(inner)
	})
}

func textAtCode(literal *ast.CompositeLit) bool {
	return slices.ContainsFunc(literal.Elts, func(element ast.Expr) bool {
		pair, ok := element.(*ast.KeyValueExpr)
		return ok && strings.EqualFold(nameOf(pair.Key), "code") && isText(pair.Value)
	})
}

func TestCodesStandInOneFile(t *testing.T) {
	t.Parallel()
	files := sources(t)
	functions, structs := takesCode(files), haveCode(files)
	if _, found := functions["Refusef"]; !found || !structs["FieldError"] || !structs["refusal"] {
		t.Fatalf("the sources were not found: %v, %v", functions, structs)
	}
	used := map[string]bool{}
	for path, file := range files {
		if path == filepath.Join("..", "domain", "codes.go") {
			continue
		}
		ast.Inspect(file, func(node ast.Node) bool {
			typed := false
			switch n := node.(type) {
			case *ast.Ident:
				used[n.Name] = true
			case *ast.CallExpr:
				place, takes := functions[nameOf(n.Fun)]
				typed = takes && len(n.Args) > place && isText(n.Args[place]) || isCodeType(n.Fun) && isText(n.Args[0])
			case *ast.CompositeLit:
				typed = hasTypedCode(n, structs)
			case *ast.ValueSpec:
				typed = n.Type != nil && isCodeType(n.Type) && len(n.Values) > 0
			}
			if typed {
				t.Errorf("%s, near byte %d: a code is typed here that belongs into domain/codes.go", path, node.Pos())
			}
			return true
		})
	}

	explained := map[Code]bool{}
	for _, section := range Codes {
		for _, entry := range section.Entries {
			if explained[entry.Code] {
				t.Errorf("%s is explained twice", entry.Code)
			}
			explained[entry.Code] = true
		}
	}
	constants := 0
	for _, declaration := range files[filepath.Join("..", "domain", "codes.go")].Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok || general.Tok != token.CONST {
			continue
		}
		for _, spec := range general.Specs {
			constant := spec.(*ast.ValueSpec)
			constants++
			value, err := strconv.Unquote(constant.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if !explained[Code(value)] {
				t.Errorf("%s is not explained in Codes", value)
			}
			if !used[constant.Names[0].Name] {
				t.Errorf("nothing is refused with %s", value)
			}
		}
	}
	if constants != len(explained) {
		t.Errorf("%d constants, but %d codes are explained", constants, len(explained))
	}
}
