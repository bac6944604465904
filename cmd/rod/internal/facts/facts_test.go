package facts

import (
	"encoding/json"
	"strings"
	"testing"
)

// Facts as JSON keep their order and their numbers, there and back.
func TestJSON(t *testing.T) {
	const text = `{"z":1,"a":{"n":18446744073709551615,"none":null},"l":[{"x":"y"},true,"s"],"e":{},"i":[]}`
	var f Facts
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(f)
	if err != nil || string(again) != text {
		t.Fatalf("%s, %v", again, err)
	}
	for _, bad := range []string{`[]`, `1`, `{"a"`, `{"a":}`, `{"a":[1}`, ``} {
		if err := json.Unmarshal([]byte(bad), &f); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestWrite(t *testing.T) {
	f := Facts{{"name", "a\x1b[31mb"}, {"longer name", 7}, {"none", nil}, {"yes", true}, {"words", []any{"a", 1}}, {"text", "one\ntwo"},
		{"inner", Facts{{"x", 1}, {"deep", Facts{{"y", 2}}}}},
		{"list", []any{Facts{{"id", 1}, {"state", "on"}}, Facts{{"id", 2}, {"state", ""}}}}, {"nobody", Facts{}}}
	const want = `name         a?[31mb
longer name  7
none         -
yes          yes
words        a 1
text         one
             two
inner
  x  1
  deep
    y  2
list
  - id     1
    state  on
  - id     2
    state  -
nobody       -
`
	var b strings.Builder
	if err := f.Write(&b); err != nil || b.String() != want {
		t.Fatalf("%v\n%s", err, b.String())
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add(`{"a":[1,{"b":null}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var x Facts
		if json.Unmarshal([]byte(text), &x) != nil {
			return
		}
		var b strings.Builder
		if err := x.Write(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := json.Marshal(x); err != nil {
			t.Fatal(err)
		}
	})
}
