package main

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const document = `{
  "info": {"title": "x"},
  "paths": {"/v1/b/{id}": {"post": {
    "operationId": "S_B",
    "responses": {"200": {"description": "ok"}},
    "parameters": [
      {"name": "id", "in": "path", "required": true},
      {"name": "q", "in": "query"},
      {"name": "body", "in": "body", "schema": {"$ref": "#/definitions/Req"}}
    ]}}},
  "definitions": {"Req": {"properties": {
    "z": {"type": "string"},
    "data": {"type": "string", "format": "byte", "description": "any"},
    "a": {"type": "string"}}}}
}`

const good = `
document: {info: {title: pushd}, security: []}
operations:
  S_B:
    required: [q, data]
    parameters: {id: "7", q: [1, x]}
    body: {data: {n: 9007199254740993, s: "\u00e9\"", e: {}, l: []}}
    response: {ok: true, nothing: null}
`

func add(t *testing.T, text string) (string, error) {
	t.Helper()
	var a addition
	if err := yaml.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	out, err := a.to([]byte(document))
	return string(out), err
}

func TestAddition(t *testing.T) {
	got, err := add(t, good)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "info": {
    "title": "pushd"
  },
  "paths": {
    "/v1/b/{id}": {
      "post": {
        "operationId": "S_B",
        "responses": {
          "200": {
            "description": "ok",
            "examples": {
              "application/json": {
                "ok": true,
                "nothing": null
              }
            }
          }
        },
        "parameters": [
          {
            "name": "id",
            "in": "path",
            "required": true,
            "x-example": "7"
          },
          {
            "name": "q",
            "in": "query",
            "required": true,
            "x-example": [
              1,
              "x"
            ]
          },
          {
            "name": "body",
            "in": "body",
            "schema": {
              "$ref": "#/definitions/Req"
            }
          }
        ]
      }
    }
  },
  "definitions": {
    "Req": {
      "properties": {
        "z": {
          "type": "string"
        },
        "data": {
          "description": "any"
        },
        "a": {
          "type": "string"
        }
      },
      "required": [
        "data"
      ],
      "example": {
        "data": {
          "n": 9007199254740993,
          "s": "é\"",
          "e": {},
          "l": []
        }
      }
    }
  },
  "security": []
}
`
	if got != want {
		t.Errorf("got %s", got)
	}
}

func TestOmit(t *testing.T) {
	got, err := add(t, strings.NewReplacer("required: [q, data]", "omit: [q]", ", q: [1, x]", "").Replace(good))
	if err != nil || strings.Contains(got, `"q"`) {
		t.Errorf("got %v, %s", err, got)
	}
}

func TestBadAdditions(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"operation missing":   {"S_B:", "S_C:", "nothing about the operation S_B"},
		"operation unknown":   {"operations:", "operations:\n  S_C: {}", "there is no operation S_C"},
		"parameter missing":   {", q: [1, x]", "", "no example of the parameter q"},
		"parameter unknown":   {"id:", "x: 1, id:", "examples of 3 parameters, and there are 2"},
		"response missing":    {"response: {ok: true, nothing: null}", "", "no example of the response"},
		"body missing":        {"    body:", "    #", "no example of the body"},
		"unknown is required": {"[q, data]", "[q, dato]", "there is no dato to require"},
	} {
		if _, err := add(t, strings.Replace(good, c.old, c.new, 1)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}
