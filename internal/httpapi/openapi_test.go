package httpapi

import (
	"encoding/json"
	"testing"
)

func TestMergeOpenAPI(t *testing.T) {
	main := `{"openapi":"3.1.0","paths":{"/a":{"get":{"x":{"$ref":"#/components/schemas/P"}}},"/both":{"get":{"s":"main"}}},
		"components":{"schemas":{"P":{"type":"string"}},"securitySchemes":{"key":{}}}}`
	other := `{"paths":{"/b":{"get":[{"$ref":"#/components/schemas/P"}]},"/both":{"get":{"s":"other"}}},
		"components":{"schemas":{"P":{"type":"object"}},"responses":{"R":{"$ref":"#/components/schemas/P"}},"securitySchemes":{"k":{}}}}`
	merged, err := MergeOpenAPI([]byte(main), []byte(other), "Other")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"openapi":"3.1.0","paths":{"/a":{"get":{"x":{"$ref":"#/components/schemas/P"}}},"/b":{"get":[{"$ref":"#/components/schemas/OtherP"}]},
		"/both":{"get":{"s":"main"}}},"components":{"schemas":{"P":{"type":"string"},"OtherP":{"type":"object"}},
		"responses":{"OtherR":{"$ref":"#/components/schemas/OtherP"}},"securitySchemes":{"key":{}}}}`
	var a, b any
	if json.Unmarshal(merged, &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		t.Fatal("not JSON")
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if string(x) != string(y) {
		t.Fatalf("got  %s\nwant %s", x, y)
	}
	if _, err := MergeOpenAPI([]byte("{"), []byte(other), ""); err == nil {
		t.Fatal("a broken document is taken")
	}
}
