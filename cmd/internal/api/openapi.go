package api

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// document is a JSON object that is built, not decoded.
type document map[string]any

// OpenAPI describes every route, OpenAPI 3.1.
func OpenAPI() document {
	schemas := document{}
	paths := map[string]document{}
	for _, rt := range routes {
		if paths[rt.path] == nil {
			paths[rt.path] = document{}
		}
		paths[rt.path][strings.ToLower(rt.method)] = rt.describe(schemas)
	}
	errorRef := schema(reflect.TypeFor[Error](), schemas)
	if schemas["Failure"] != nil {
		panic("a type has the name of the answer of a request that failed")
	}
	schemas["Failure"] = document{"type": "object", "properties": document{"error": errorRef}, "required": []string{"error"}}
	return document{
		"openapi": "3.1.0",
		"info": document{
			"title": "Lightning Rod", "version": "1",
			"description": "A Lightning node that holds payments for nodes which are never online together. On the unix socket no token is needed.",
		},
		"paths": paths,
		"components": document{
			"schemas":         schemas,
			"securitySchemes": document{"token": document{"type": "http", "scheme": "bearer"}},
		},
	}
}

func (rt *route) describe(schemas document) document {
	op := document{"summary": rt.doc, "operationId": rt.operation()}
	var params []document
	body := document{}
	var required []string
	for _, f := range fieldsOf(rt.in) {
		if f.in == "json" {
			body[f.name] = f.schema(schemas)
			if f.required {
				required = append(required, f.name)
			}
			continue
		}
		params = append(params, document{"name": f.name, "in": f.in, "required": f.required, "schema": f.schema(schemas)})
	}
	if rt.mutates && !rt.secret {
		params = append(params, document{"name": "Idempotency-Key", "in": "header", "required": false,
			"schema": document{"type": "string", "maxLength": keyLimit}, "description": "the same key does the same thing once"})
	}
	if len(body) > 0 {
		in := document{"type": "object", "properties": body, "additionalProperties": false}
		if required != nil {
			in["required"] = required
		}
		op["requestBody"] = document{"required": required != nil, "content": document{"application/json": document{"schema": in}}}
	}
	content := document{"application/json": document{"schema": schema(rt.out, schemas)}}
	failure := document{"application/json": document{"schema": document{"$ref": "#/components/schemas/Failure"}}}
	responses := document{
		"200":     document{"description": "done", "content": content},
		"default": document{"description": "not done", "content": failure},
	}
	if rt.path == routesBase+"/events" {
		content["text/event-stream"] = document{"schema": document{"type": "string", "description": "of each event its number as id, its kind as event, and itself as data"}}
		responses["410"] = document{"description": "the event is not kept any more; oldest is the first that is", "content": failure}
		params = append(params, document{"name": "Last-Event-ID", "in": "header", "required": false, "schema": schema(reflect.TypeFor[Number](), schemas),
			"description": "of a stream: the number of the last event that was seen. It counts more than after and from"})
	}
	if params != nil {
		op["parameters"] = params
	}
	op["responses"] = responses
	if !slices.Contains(rt.scopes, everybody) {
		scopes := []string{string(Admin)}
		for _, s := range rt.scopes {
			scopes = append(scopes, string(s))
		}
		op["security"] = []document{{"token": scopes}}
	}
	return op
}

// operation is a unique name: getChannels, postChannelsClose.
func (rt *route) operation() string {
	name := strings.ToLower(rt.method)
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(rt.path, routesBase), func(r rune) bool { return strings.ContainsRune("/{}._", r) }) {
		name += strings.ToUpper(part[:1]) + part[1:]
	}
	return name
}

// schema describes a field with its bounds.
func (f *field) schema(schemas document) document {
	s := schema(f.typ, schemas)
	if f.doc != "" {
		s["description"] = f.doc
	}
	text := f.typ.Kind() == reflect.String
	switch {
	case f.hex > 0:
		s["pattern"] = fmt.Sprintf("^[0-9a-f]{%d}$", 2*f.hex)
	case text && f.max != nil:
		s["maxLength"] = *f.max
	case f.max != nil:
		s["maximum"] = *f.max
	}
	if f.min != nil {
		s["minimum"] = *f.min
	}
	return s
}

var textType = reflect.TypeFor[encoding.TextMarshaler]()

// schema describes a type; a struct goes to schemas under its name.
func schema(t reflect.Type, schemas document) document {
	switch {
	case t == reflect.TypeFor[document]():
		return document{"type": "object"}
	case t.Implements(textType):
		return document{"type": "string", "pattern": "^[0-9]+$"}
	}
	switch t.Kind() {
	case reflect.String:
		return document{"type": "string"}
	case reflect.Bool:
		return document{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return document{"type": "integer", "format": "int64"}
	case reflect.Uint64, reflect.Uint32:
		return document{"type": "integer", "format": "int64", "minimum": 0}
	case reflect.Pointer:
		return schema(t.Elem(), schemas)
	case reflect.Slice:
		return document{"type": "array", "items": schema(t.Elem(), schemas)}
	case reflect.Map:
		return document{"type": "object", "additionalProperties": schema(t.Elem(), schemas)}
	case reflect.Struct:
		name := schemaName(t)
		if _, done := schemas[name]; !done {
			schemas[name] = nil // so that a type may contain itself
			props := document{}
			for _, f := range fieldsOf(t) {
				props[f.name] = f.schema(schemas)
			}
			schemas[name] = document{"type": "object", "properties": props}
		}
		return document{"$ref": "#/components/schemas/" + name}
	}
	panic(fmt.Sprintf("no schema for %v", t))
}

// schemaName is a type's name; List[lightningrod/cmd/internal/api.Peer] is PeerList.
func schemaName(t reflect.Type) string {
	name, arg, generic := strings.Cut(t.Name(), "[")
	if !generic {
		return name
	}
	arg = strings.TrimSuffix(arg, "]")
	return arg[strings.LastIndex(arg, ".")+1:] + name
}
