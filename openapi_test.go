package hookledger_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestOpenAPIDocument fetches the document from a real server, checks what a linter does not, and writes it to the file
// that HOOKLEDGER_OPENAPI names, for the linter: make openapi.
func TestOpenAPIDocument(t *testing.T) {
	t.Parallel()
	server := serve(t)
	var document struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
		} `json:"paths"`
		Webhooks map[string]json.RawMessage `json:"webhooks"`
	}
	var raw json.RawMessage
	server.call(http.MethodGet, "/openapi.json", nil, &raw)
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(document.OpenAPI, "3.1") {
		t.Errorf("it is OpenAPI %q, not 3.1", document.OpenAPI)
	}
	seen := map[string]string{}
	for path, item := range document.Paths {
		for method, operation := range item {
			at := method + " " + path
			if operation.OperationID == "" {
				t.Errorf("%s has no operation id", at)
			} else if other, twice := seen[operation.OperationID]; twice {
				t.Errorf("%s and %s have the same operation id %s", at, other, operation.OperationID)
			}
			seen[operation.OperationID] = at
		}
	}
	if len(document.Webhooks) == 0 {
		t.Error("it does not say what we send: webhooks is missing")
	}
	if file := os.Getenv("HOOKLEDGER_OPENAPI"); file != "" {
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
