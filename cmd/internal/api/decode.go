package api

import (
	"encoding"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
)

// field is one input or output field as its tags describe it.
type field struct {
	index    []int // as reflect's FieldByIndex has it
	name     string
	in       string // path, query or body
	typ      reflect.Type
	doc      string
	required bool
	min, max *uint64 // of a number; of a string max is its bytes
	hex      int     // bytes that a hex string stands for; 0: not hex
}

// fieldsOf reads the tags of a struct type. The fields of one that is embedded are its own.
func fieldsOf(t reflect.Type) []field {
	var all []field
	for i := range t.NumField() {
		sf := t.Field(i)
		if sf.Anonymous {
			for _, f := range fieldsOf(sf.Type) {
				f.index = append([]int{i}, f.index...)
				all = append(all, f)
			}
			continue
		}
		f := field{index: sf.Index, typ: sf.Type, doc: sf.Tag.Get("doc"), required: sf.Tag.Get("required") == "true"}
		for _, in := range []string{"path", "query", "json"} {
			if name, _, _ := strings.Cut(sf.Tag.Get(in), ","); name != "" {
				f.name, f.in = name, in
			}
		}
		if f.name == "" {
			panic(fmt.Sprintf("%v.%s has no name", t, sf.Name))
		}
		if f.in == "path" {
			f.required = true
		}
		f.min, f.max, f.hex = bound(sf.Tag.Get("min")), bound(sf.Tag.Get("max")), atoi(sf.Tag.Get("hex"))
		all = append(all, f)
	}
	return all
}

func bound(tag string) *uint64 {
	if tag == "" {
		return nil
	}
	v, err := strconv.ParseUint(tag, 10, 64)
	if err != nil {
		panic(err)
	}
	return &v
}

func atoi(tag string) int {
	n, _ := strconv.Atoi(tag)
	return n
}

// bounds says in words what a field must keep to.
func (f *field) bounds() string {
	text := f.typ.Kind() == reflect.String
	switch {
	case f.hex > 0:
		return fmt.Sprintf("%d hex digits", 2*f.hex)
	case text && f.max != nil:
		return fmt.Sprintf("at most %d bytes", *f.max)
	case f.min != nil && f.max != nil:
		return fmt.Sprintf("%d to %d", *f.min, *f.max)
	case f.max != nil:
		return fmt.Sprintf("at most %d", *f.max)
	case f.min != nil:
		return fmt.Sprintf("at least %d", *f.min)
	}
	return ""
}

// decode fills in, a pointer to a struct, from path, query and body, and checks it.
func decode(r *http.Request, body []byte, in any) error {
	v := reflect.ValueOf(in).Elem()
	fields := fieldsOf(v.Type())
	given := map[string]bool{}
	query := r.URL.Query()
	takesBody := false
	for _, f := range fields {
		takesBody = takesBody || f.in == "json"
	}
	if takesBody {
		if err := decodeBody(body, in, fields, given); err != nil {
			return err
		}
	} else if len(body) > 0 {
		return invalid("body", "empty", "%d bytes, but this request takes none", len(body))
	}
	for _, f := range fields {
		switch f.in {
		case "path":
			given[f.name] = true
			if err := f.parse(r.PathValue(f.name), v.FieldByIndex(f.index)); err != nil {
				return err
			}
		case "query":
			if !query.Has(f.name) {
				continue
			}
			given[f.name] = true
			if err := f.parse(query.Get(f.name), v.FieldByIndex(f.index)); err != nil {
				return err
			}
			query.Del(f.name)
		}
	}
	for name := range query {
		return invalid(name, "", "no such parameter")
	}
	for _, f := range fields {
		if err := f.check(v.FieldByIndex(f.index), given[f.name]); err != nil {
			return err
		}
	}
	return nil
}

// decodeBody reads exactly one JSON object with known names, and notes which were given.
func decodeBody(body []byte, in any, fields []field, given map[string]bool) error {
	if len(strings.TrimSpace(string(body))) == 0 {
		body = []byte("{}")
	}
	var names map[string]json.RawMessage
	if err := json.Unmarshal(body, &names); err != nil {
		return bodyError(err)
	}
	allowed := map[string]bool{}
	for _, f := range fields {
		if f.in == "json" {
			allowed[f.name] = true
		}
	}
	for name, raw := range names {
		if !allowed[name] {
			return invalid(name, "", "no such field")
		}
		given[name] = string(raw) != "null"
	}
	dec := json.NewDecoder(strings.NewReader(string(body)))
	if err := dec.Decode(in); err != nil {
		return bodyError(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return invalid("body", "one JSON object", "more after the object")
	}
	return nil
}

func bodyError(err error) error {
	var typ *json.UnmarshalTypeError
	if errors.As(err, &typ) && typ.Field != "" {
		return invalid(typ.Field, typ.Type.String(), "a JSON %s does not fit", typ.Value)
	}
	return invalid("body", "one JSON object", "%v", err)
}

// parse reads a field of path or query.
func (f *field) parse(text string, v reflect.Value) error {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return invalid(f.name, "a decimal number", "%v", err)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return invalid(f.name, "true or false", "%.40q", text)
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return invalid(f.name, f.bounds(), "%.40q is not a number in range", text)
		}
		v.SetInt(n)
	case reflect.Uint64, reflect.Uint32:
		n, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return invalid(f.name, f.bounds(), "%.40q is not a number in range", text)
		}
		v.SetUint(n)
	default:
		panic(fmt.Sprintf("%s: no way to parse a %v", f.name, v.Type()))
	}
	return nil
}

// check holds a field to its bounds.
func (f *field) check(v reflect.Value, given bool) error {
	if !given {
		if f.required {
			return invalid(f.name, f.bounds(), "is missing")
		}
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		s := v.String()
		if f.hex > 0 {
			if b, err := hex.DecodeString(s); err != nil || len(b) != f.hex {
				return invalid(f.name, f.bounds(), "%d characters, need %s", len(s), f.bounds())
			}
		} else if f.required && s == "" {
			return invalid(f.name, f.bounds(), "is empty")
		} else if f.max != nil && uint64(len(s)) > *f.max {
			return invalid(f.name, f.bounds(), "%d bytes, above %d", len(s), *f.max)
		}
	case reflect.Uint64, reflect.Uint32:
		return f.inRange(v.Uint(), fmt.Sprint(v.Uint()))
	case reflect.Int:
		if v.Int() < 0 {
			return invalid(f.name, f.bounds(), "%d is below 0", v.Int())
		}
		return f.inRange(uint64(v.Int()), fmt.Sprint(v.Int()))
	}
	return nil
}

func (f *field) inRange(n uint64, text string) error {
	switch {
	case f.min != nil && n < *f.min:
		return invalid(f.name, f.bounds(), "%s below %d", text, *f.min)
	case f.max != nil && n > *f.max:
		return invalid(f.name, f.bounds(), "%s above %d", text, *f.max)
	}
	return nil
}
