package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// rule is a validation rule as it is written in crds/schema. Exactly one of Bad and Transition is set.
type rule struct {
	// ID names the rule in errors, and its cases in e2e/api/testdata/rules.yaml; it does not get into the output.
	ID string `json:"id"`
	// Bad is a CEL expression on X that is true for an object to reject. It becomes
	//	!(Bad on self) || oldSelf.hasValue() && (Bad on oldSelf.value())
	// with optionalOldSelf, so that an object which was bad before the rule existed can still be labelled, get a status and
	// lose its finalizers. The API server's own ratcheting does not help here: a spec that holds a field without a schema
	// (config) is never "unchanged" (k8s.io/apiserver/pkg/cel/common/equality.go).
	Bad string `json:"bad"`
	// Transition is a CEL expression on self and oldSelf that is true for an update to accept.
	Transition string `json:"transition"`
	// Message names the field and what would be accepted. {self.x} is replaced by the value of that string field.
	Message string `json:"message"`
	// FieldPath is relative to the rule's place, as ".mode".
	FieldPath string `json:"fieldPath"`
	// Reason is FieldValueForbidden, FieldValueRequired or FieldValueInvalid (the default).
	Reason string `json:"reason"`
}

var (
	subject     = regexp.MustCompile(`\bX\b`)
	placeholder = regexp.MustCompile(`\{([^{}]+)\}`)
)

// parseRules decodes rules that stand inside a schema.
func parseRules(value any) ([]rule, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.DisallowUnknownFields()
	var rules []rule
	if err := decoder.Decode(&rules); err != nil {
		return nil, err
	}
	return rules, nil
}

// expand returns the rules as x-kubernetes-validations.
func expand(rules []rule) ([]any, error) {
	out := make([]any, 0, len(rules))
	for _, r := range rules {
		validation, err := r.expand()
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.ID, err)
		}
		out = append(out, validation)
	}
	return out, nil
}

func (r rule) expand() (node, error) {
	if (r.Bad == "") == (r.Transition == "") {
		return nil, fmt.Errorf("exactly one of bad and transition must be set")
	}
	if r.Message == "" {
		return nil, fmt.Errorf("message must be set")
	}
	out := node{}
	if r.Transition != "" {
		out["rule"] = r.Transition
	} else {
		bad := strings.Join(strings.Fields(r.Bad), " ")
		if !subject.MatchString(bad) {
			return nil, fmt.Errorf("bad does not mention X: %s", bad)
		}
		out["optionalOldSelf"] = true
		out["rule"] = fmt.Sprintf("!(%s) || (oldSelf.hasValue() && (%s))",
			subject.ReplaceAllString(bad, "self"), subject.ReplaceAllString(bad, "oldSelf.value()"))
	}
	key, message := "message", r.Message
	if placeholder.MatchString(message) {
		key, message = "messageExpression", concatenation(message)
	}
	out[key] = message
	if r.FieldPath != "" {
		out["fieldPath"] = r.FieldPath
	}
	if r.Reason != "" {
		out["reason"] = r.Reason
	}
	return out, nil
}

// concatenation turns "a {self.b} c" into the CEL expression "a " + self.b + " c".
func concatenation(message string) string {
	var parts []string
	text := func(s string) {
		if s != "" {
			parts = append(parts, strconv.Quote(s))
		}
	}
	end := 0
	for _, m := range placeholder.FindAllStringSubmatchIndex(message, -1) {
		text(message[end:m[0]])
		parts = append(parts, message[m[2]:m[3]])
		end = m[1]
	}
	text(message[end:])
	return strings.Join(parts, " + ")
}
