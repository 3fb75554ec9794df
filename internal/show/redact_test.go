package show_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/otelier/otelier/crds"
	"github.com/otelier/otelier/internal/show"
	"github.com/otelier/otelier/reconcile"
)

// secrets are values that must not be seen, all of which contain hunter2, in every place that is known for them.
func secrets() []show.Collector {
	c := named("obs", "gateway")
	d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
	env := func(name, value string) map[string]any { return map[string]any{"name": name, "value": value} }
	d.Fields = []reconcile.FieldChange{
		{Path: container + `.env[name="API_TOKEN"].value`, Op: reconcile.FieldSet, Old: "hunter2-in-env", New: "hunter2-new"},
		{Path: container + `.env[name="OTHER_TOKEN"]`, Op: reconcile.FieldSet, New: env("OTHER_TOKEN", "hunter2-in-env")},
		{Path: container + `.env[name="SAFE_TOKEN"]`, Op: reconcile.FieldSet, New: env("SAFE_TOKEN", "${env:TOKEN}")},
		{Path: container + `.env[name="FROM_SECRET"]`, Op: reconcile.FieldSet, New: map[string]any{
			"name": "FROM_SECRET", "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": "keys", "key": "token"}},
		}},
		{Path: container + `.env[name="DATABASE"].value`, Op: reconcile.FieldSet, Old: "none", New: "postgres://me:hunter2@db/x"},
		{Path: container + ".args", Op: reconcile.FieldSet, New: []any{
			"--config=/conf/collector.yaml", "--set=exporters.otlp.headers.authorization=Bearer hunter2", "--password", "hunter2",
			"--config=yaml:exporters::otlp::headers::x-token: hunter2",
		}},
		{Path: `.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"]`, Op: reconcile.FieldSet, New: `{"a":"hunter2"}`},
		{Path: ".spec.template.spec.automountServiceAccountToken", Op: reconcile.FieldSet, New: false},
		{Path: ".metadata.annotations.note", Op: reconcile.FieldSet, New: "not hunter2-in-env, is it?"},
	}
	d.Want.Object["spec"] = map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{
		map[string]any{"name": "otc-container", "env": []any{env("API_TOKEN", "hunter2-in-env")}},
	}}}}
	refused := change("Service", "gateway-collector", reconcile.ActionCreate)
	c.Changes = []reconcile.Change{change("ConfigMap", "new", reconcile.ActionCreate), d, refused}
	c.Results[refused.ID] = reconcile.Result{Err: &reconcile.Problem{Message: `spec: Invalid value: "hunter2-in-env": no`}}
	c.Configs = &reconcile.ConfigChange{OldName: "old", NewName: "new", Old: secretConfig("hunter2-old"), New: secretConfig("hunter2-new")}
	c.Warnings = []string{"hunter2-in-env is odd"}
	return []show.Collector{c}
}

func secretConfig(secret string) string {
	return `# token: ` + secret + `
extensions:
  bearertokenauth/tenant:
    scheme: Bearer
    token: ` + secret + `
  basicauth:
    client_auth: {username: me, password: "` + secret + `"}
exporters:
  otlphttp:
    endpoint: https://me:` + secret + `@example.com/?api_key=` + secret + `&x=1
    headers:
      X-Tenant: ` + secret + `
      Authorization: Bearer ${env:TOKEN}
    tls:
      insecure: true
  kafka:
    auth:
      sasl:
        password: |
          ` + secret + `
          second line ` + secret + `

        mechanism: PLAIN
  sql:
    datasource: host=db user=me password=` + secret + ` sslmode=on
processors:
  attributes:
    actions:
    - {key: api_key, value: ` + secret + `, action: insert}
    - key: x-password
      action: insert
      value: '` + secret + ` it''s'
service:
  extensions: [bearertokenauth/tenant]
`
}

// TestNoSecrets plants secrets in configurations of all spellings, and looks for them in whatever is printed.
func TestNoSecrets(t *testing.T) {
	for name, text := range map[string]string{
		"plain":             "a:\n  token: SECRET\n",
		"double quotes":     "a: {token: \"SECRET\", b: 1}\n",
		"single quotes":     "a: {token: 'SECRET', b: 1}\n",
		"escapes":           "a:\n  token: \"x\\\"\\u0041SECRET\"\n",
		"literal":           "a:\n  private_key: |-\n    one\n    SECRET\n\n    three SECRET\n  b: 1\n",
		"indented literal":  "a:\n- private_key: |2\n     SECRET\n    SECRET\n- b: 1\n",
		"folded":            "a:\n  credentials: >\n    SECRET\n    SECRET\nb: 1\n",
		"lines":             "a:\n  password: one\n    SECRET\n    three\n  b: 1\n",
		"lines in quotes":   "a:\n  password: \"one\n    SECRET\n    three\"\n  b: 1\n",
		"a list":            "api_keys:\n- SECRET\n- SECRET2\n",
		"a list in a line":  "api_keys: [SECRET, SECRET2]\n",
		"a map":             "secrets:\n  a: {b: SECRET}\n",
		"anchor":            "x: &s SECRET\ny: {password: *s}\n",
		"anchor at secret":  "x: {password: &s SECRET}\ny: *s\n",
		"tag":               "password: !!str SECRET\n",
		"unicode before":    "\"é日本\": {\"ü\": 1, password: SECRET}\n",
		"windows":           "a:\r\n  token: SECRET\r\n  key: |\r\n    x\r\n  password: |\r\n    SECRET\r\n",
		"comment":           "a: 1 # password: SECRET\n#   password=SECRET\n",
		"default":           "token: ${env:TOKEN:-SECRET}\n",
		"after a reference": "token: ${env:TOKEN}SECRET\n",
		"header":            "headers:\n  X-Scope: SECRET\n",
		"header of a list":  "x:\n- name: Authorization\n  value: Basic SECRET\n",
		"URL":               "endpoint: amqp://me:SECRET@host:1/?x\n",
		"token in a URL":    "endpoint: https://SECRET@host/path\n",
		"query":             "endpoint: https://host/path?a=b&access_token=SECRET&c=d\n",
		"DSN":               "datasource: user:SECRET@tcp(host)/db\nx: Server=a;Password=SECRET;b=c\n",
		"JSON":              "{\"a\": {\"token\": \"SECRET\", \"b\": [{\"apiKey\": \"SECRET\"}]}}",
		"bearer":            "x: Bearer SECRET\n",
		"PEM":               "x: |\n  -----BEGIN RSA PRIVATE KEY-----\n  SECRET\n  -----END RSA PRIVATE KEY-----\n",
		"PEM in a comment":  "# -----BEGIN PRIVATE KEY-----\n# SECRET\n# -----END PRIVATE KEY-----\nx: 1\n",
		"two documents":     "a: 1\n---\ntoken: SECRET\n",
		"not YAML":          "a: [\n  token: SECRET\n  - password: |\n      SECRET\n      SECRET\n    b: 1\n",
		"script":            "run: |\n  curl -H 'X-Api-Key: SECRET' https://host\n",
		"script's header":   "run: |\n  curl -H \"Authorization: Basic SECRET\" https://host\n",
		"hook":              "url: https://hooks.slack.com/services/T0/B0/SECRET\n",
		"signature":         "url: https://x.blob.core.windows.net/y?sv=1&sig=SECRET&x=1\n",
		"community":         "snmp: {community: SECRET}\n",
		"Azure":             "connection_string: InstrumentationKey=SECRET;IngestionEndpoint=https://x/\n",
		"Azure's pairs":     "x: AccountName=a;AccountKey=SECRET;b=c\ny: SharedAccessKeyName=a;SharedAccessKey=SECRET\n",
		"shared access":     "x: BlobEndpoint=https://x/;SharedAccessSignature=sv=1&sig=SECRET\n",
		"Sumo Logic":        "endpoint: https://endpoint.collection.sumologic.com/receiver/v1/http/SECRET\n",
		"a key of a secret": "kafka:\n  sasl_password:\n    SECRET\n",
	} {
		t.Run(name, func(t *testing.T) {
			secret := planted(t)
			with := func(s string) string { return strings.ReplaceAll(text, "SECRET", s) }
			c := named("obs", "gateway")
			d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
			d.Fields = []reconcile.FieldChange{
				{Path: ".metadata.annotations.text", Op: reconcile.FieldSet, Old: with("nothing") + "x: 1\n", New: with(secret)},
				{Path: container + `.env[name="TEXT"].value`, Op: reconcile.FieldSet, New: with(secret) + "\n"},
				{Path: ".data", Op: reconcile.FieldSet, New: map[string]any{"collector.yaml": with(secret)}},
			}
			c.Changes = []reconcile.Change{d}
			c.Configs = &reconcile.ConfigChange{OldName: "a", NewName: "b", Old: with(secret) + "\n# end", New: with("other")}
			nowhere(t, []show.Collector{c}, secret)
		})
	}
}

// TestNoSecretsInObjects is the same for what is no configuration.
func TestNoSecretsInObjects(t *testing.T) {
	for name, f := range map[string]func(secret string) reconcile.FieldChange{
		"env":          set(container+`.env[name="DB_PASSWORD"].value`, func(s string) any { return s }),
		"env element":  set(container+`.env[name="DB_PASSWORD"]`, func(s string) any { return map[string]any{"name": "DB_PASSWORD", "value": s} }),
		"env list":     set(container+`.env`, func(s string) any { return []any{map[string]any{"name": "A_TOKEN", "value": s}} }),
		"headers":      set(container+`.env[name="OTEL_EXPORTER_OTLP_HEADERS"].value`, func(s string) any { return "x=" + s }),
		"container":    set(container, func(s string) any { return map[string]any{"args": []any{"--token=" + s}} }),
		"argument":     set(container+".args", func(s string) any { return []any{"--token", s} }),
		"set":          set(container+".args", func(s string) any { return []any{"--set=a.b.api_key=x " + s} }),
		"header":       set(container+".args", func(s string) any { return []any{"--header=Authorization: Basic " + s} }),
		"config":       set(container+".args", func(s string) any { return []any{"--config=yaml:a::token: " + s} }),
		"inline":       set(container+".args", func(s string) any { return []any{"--config=yaml:{a: {token: " + s + "}}"} }),
		"shell":        set(container+".command", func(s string) any { return []any{"sh", "-c", "TOKEN=" + s + " exec x"} }),
		"last applied": set(".metadata.annotations", func(s string) any { return map[string]any{"kubectl.kubernetes.io/last-applied-configuration": s} }),
		"annotation":   set(`.metadata.annotations["example.com/password"]`, func(s string) any { return s }),
		"data":         set(`.data["password.txt"]`, func(s string) any { return s }),
		"script":       set(container+".args", func(s string) any { return []any{"sh", "-c", "curl -H 'X-Api-Key: " + s + "' https://host"} }),
		"quotes": set(container+".args", func(s string) any {
			return []any{"sh", "-c", `curl --header "Authorization: Basic ` + s + `" https://host`}
		}),
		"no scheme":   set(container+".args", func(s string) any { return []any{"sh", "-c", "curl -H 'Authorization: " + s + "' https://host"} }),
		"escapes":     set(container+".args", func(s string) any { return []any{"sh", "-c", `curl -d "{\"token\": \"` + s + `\"}"`} }),
		"header word": set(container+".args", func(s string) any { return []any{"curl", "-H", "X-Api-Key: " + s} }),
		"user":        set(container+".args", func(s string) any { return []any{"sh", "-c", "curl -u me:" + s + " https://host"} }),
		"user word":   set(container+".args", func(s string) any { return []any{"curl", "--user", "me:" + s} }),
		"flag's word": set(container+".args", func(s string) any { return []any{"sh", "-c", "exec x --password " + s + " -v"} }),
		"probe": set(container+".livenessProbe", func(s string) any {
			return map[string]any{"exec": map[string]any{"command": []any{"curl", "-H", "Authorization: Bearer " + s}}}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			secret := planted(t)
			c := named("obs", "gateway")
			d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
			d.Fields = []reconcile.FieldChange{f(secret)}
			c.Changes = []reconcile.Change{d}
			nowhere(t, []show.Collector{c}, secret)
		})
	}
	for _, name := range []string{
		"GITHUB_PAT", "PAT", "githubPat", "GITHUB_PAT2", "DB_PASS", "MYSQL_PWD", "REDIS_AUTH", "SENTRY_DSN", "BLOB_SAS", "SLACK_WEBHOOK", "SLACK_WEBHOOK_URL",
		"APPINSIGHTS_INSTRUMENTATIONKEY", "APPLICATIONINSIGHTS_CONNECTION_STRING", "instrumentation-key", "DD_APP_KEY", "AccountKey", "NEW_RELIC_LICENSE_KEY",
		"LOGDNA_INGEST_KEY", "SEGMENT_WRITE_KEY", "KEY_PASSPHRASE", "OAUTH_CLIENT_SECRET", "AWS_ACCESS_KEY_ID", "S3_SECRET_KEY", "SNMP_COMMUNITY", "TLS_KEY_PEM",
	} {
		t.Run("variable "+name, func(t *testing.T) {
			secret := planted(t)
			c := named("obs", "gateway")
			d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
			d.Fields = []reconcile.FieldChange{set(container+`.env[name="`+name+`"].value`, func(s string) any { return s })(secret)}
			c.Changes = []reconcile.Change{d}
			nowhere(t, []show.Collector{c}, secret)
		})
	}
	t.Run("Secret", func(t *testing.T) {
		secret := planted(t)
		encoded := base64.StdEncoding.EncodeToString([]byte(secret))
		c := named("obs", "gateway")
		d := change("Secret", "keys", reconcile.ActionUpdate)
		d.Fields = []reconcile.FieldChange{
			set(".data.a", func(string) any { return encoded })(secret),
			set(".stringData", func(s string) any { return map[string]any{"x": s} })(secret),
		}
		c.Changes = []reconcile.Change{d}
		c.Problem = &reconcile.Problem{Message: "what about " + secret}
		nowhere(t, []show.Collector{c}, secret)
		nowhere(t, []show.Collector{c}, encoded)
	})
	t.Run("an error that quotes the source", func(t *testing.T) {
		secret := planted(t)
		c := named("obs", "gateway")
		c.Source = object("opentelemetry.io/v1beta1", "OpenTelemetryCollector", "gateway")
		c.Source.Object["spec"] = map[string]any{"config": map[string]any{"exporters": map[string]any{"x": map[string]any{"token": secret}}}}
		c.Problem = &reconcile.Problem{Message: fmt.Sprintf("spec.config: Invalid value: %q", secret)}
		nowhere(t, []show.Collector{c}, secret)
	})
}

// TestNoTokens plants secrets that only their form tells, in a value, in a configuration and in an error.
func TestNoTokens(t *testing.T) {
	for _, prefix := range []string{
		"ghp_", "gho_", "ghs_", "ghu_", "github_pat_11AA_", "glpat-", "glrt-", "xoxb-1-", "xoxp-", "xapp-1-", "sk-", "sk-proj-", "sk-ant-api03-", "sk_live_",
		"AIza", "ya29.", "dckr_pat_", "npm_", "pypi-", "hf_", "hvs.", "dop_v1_", "glsa_", "glc_", "dt0c01.ABCDEFGHIJKLMNOPQRSTUVWX.", "NRAK-", "eyJhbGciOi.eyJzdWIi.",
		"AKIA", "ASIA",
	} {
		t.Run(prefix, func(t *testing.T) {
			random := (planted(t) + planted(t) + planted(t))[:32]
			if prefix == "AKIA" || prefix == "ASIA" {
				random = strings.ToUpper(random[:16])
			}
			token := prefix + random
			c := named("obs", "gateway")
			d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
			for _, text := range []string{token, "git clone https://host/" + token, "x='" + token + "'", "a: [x, " + token + "]\nb: 1\n"} {
				d.Fields = append(
					d.Fields,
					reconcile.FieldChange{Path: container + `.env[name="X"].value`, Op: reconcile.FieldSet, New: text},
					reconcile.FieldChange{Path: container + ".args", Op: reconcile.FieldSet, New: []any{"--x", text}},
					reconcile.FieldChange{Path: ".metadata.annotations.x", Op: reconcile.FieldSet, New: text},
				)
			}
			c.Changes = []reconcile.Change{d}
			c.Problem = &reconcile.Problem{Message: "what of " + token + "?"}
			nowhere(t, []show.Collector{c}, random)
		})
	}
}

// TestMentions shows that what is known to be secret is not quoted anywhere, in whatever form it was found.
func TestMentions(t *testing.T) {
	for name, text := range map[string]string{
		"value": "SECRET", "scheme": "Bearer SECRET", "pair": "a=b,password=SECRET", "URL": "https://me:SECRET@host", "quotes": "SECRET\"x",
		"line": "one\nSECRET\nthree",
	} {
		t.Run(name, func(t *testing.T) {
			secret := planted(t)
			c := named("obs", "gateway")
			d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
			d.Fields = []reconcile.FieldChange{
				set(container+`.env[name="A_TOKEN"].value`, func(s string) any { return strings.ReplaceAll(text, "SECRET", s) })(secret),
				set(".spec.somewhere", func(s string) any { return []any{map[string]any{"else": s}} })(secret),
			}
			c.Changes = []reconcile.Change{d, change("Service", "a", reconcile.ActionCreate)}
			if name == "quotes" {
				d.Fields = d.Fields[:1]
				secret += `"x`
			}
			c.Results[c.Changes[1].ID] = reconcile.Result{Err: &reconcile.Problem{Message: "what of " + secret + "?"}}
			c.Warnings = []string{fmt.Sprintf("invalid: %q", secret)}
			nowhere(t, []show.Collector{c}, secret)
		})
	}
}

func set(path string, value func(string) any) func(string) reconcile.FieldChange {
	return func(secret string) reconcile.FieldChange {
		return reconcile.FieldChange{Path: path, Op: reconcile.FieldSet, New: value(secret)}
	}
}

// planted is a secret that occurs nowhere else, of any length that passwords have.
func planted(t *testing.T) string {
	t.Helper()
	const letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"
	out := make([]byte, 10+rand.IntN(40))
	for i := range out {
		out[i] = letters[rand.IntN(len(letters))]
	}
	return "q7" + string(out)
}

// nowhere looks for the secret in all formats.
func nowhere(t *testing.T, collectors []show.Collector, secret string) {
	t.Helper()
	for _, o := range []show.Options{
		{}, {Color: true, Unchanged: true}, {Format: show.JSON}, {Format: show.YAML}, {Format: show.Name}, {Format: show.Patch}, {Quiet: true},
	} {
		var out, stderr bytes.Buffer
		if o.Now, o.Errors = now(), &stderr; o.Format == "" {
			o.Format = show.Text
		}
		if _, err := show.Write(&out, collectors, o); err != nil {
			t.Fatal(err)
		}
		if text := out.String() + stderr.String(); strings.Contains(text, secret) {
			t.Errorf("%+v: %s is in it:\n%s", o, secret, text)
		}
	}
	shown, _ := printed(t, collectors, show.Options{ShowSecrets: true})
	if !strings.Contains(shown, secret) {
		t.Errorf("with ShowSecrets, %s is not in it:\n%s", secret, shown)
	}
}

// TestNotRedacted are values that only look like secrets.
func TestNotRedacted(t *testing.T) {
	const text = `extensions:
  bearertokenauth:
    filename: /var/run/x
exporters:
  otlp:
    endpoint: https://example.com:4317/path
    headers: {Authorization: "Bearer ${env:TOKEN}", X-Api-Key: "${env:API_KEY}"}
    compression: gzip
    path: /var/pattern/bypass
    auth: {authenticator: bearertokenauth}
service:
  extensions: [bearertokenauth]
  pipelines:
    traces/token: {receivers: [otlp], exporters: [otlp]}
`
	c := named("obs", "gateway")
	d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
	d.Fields = []reconcile.FieldChange{
		{Path: ".metadata.annotations.text", Op: reconcile.FieldSet, New: text},
		{Path: ".spec.template.spec.volumes", Op: reconcile.FieldSet, New: []any{map[string]any{
			"name": "token", "projected": map[string]any{"sources": []any{map[string]any{"serviceAccountToken": map[string]any{"path": "token"}}}},
		}}},
		{Path: container + ".args", Op: reconcile.FieldSet, New: []any{
			"sh", "-c", "curl -H 'Authorization: Bearer ${env:TOKEN}' -H 'X-Api-Key: ${env:KEY1234}' -H 'Content-Type: text/plain' https://host/a:b?c=d",
			"--header=Authorization: ${env:TOKEN}", "--password", "${env:PASSWORD}", "--collector-name=global-sk-gateway-collector",
		}},
		{Path: container + `.env[name="GITHUB_PAT"].value`, Op: reconcile.FieldSet, New: "${env:X}"},
		{Path: container + `.env[name="PATH"].value`, Op: reconcile.FieldSet, New: "/usr/bin"},
		{Path: `.metadata.labels["app.kubernetes.io/version"]`, Op: reconcile.FieldSet, Old: "0.157.0", New: "0.158.0"},
		{Path: container + ".image", Op: reconcile.FieldSet, New: "example.com/token@sha256:0123456789"},
		{Path: fmt.Sprintf(".metadata.annotations[%q]", crds.AnnotationServingCertSecret), Op: reconcile.FieldSet, New: "gateway-collector"},
	}
	c.Changes = []reconcile.Change{d, change("Service", "gateway-collector", reconcile.ActionCreate)}
	c.Results[c.Changes[1].ID] = reconcile.Result{Err: &reconcile.Problem{Message: `spec.authorization: Required value, ` +
		`spec.env[0].valueFrom.secretKeyRef.name: Required value, secrets "token" is forbidden: may not get them with --show-secrets`}}
	got, _ := printed(t, []show.Collector{c}, show.Options{})
	if strings.Contains(got, "redacted") {
		t.Errorf("got\n%s", got)
	}
}

// TestSameNumber shows that one sees whether a secret changes, and that numbers are in the order in which they are printed, although
// secrets of what is printed last are known first.
func TestSameNumber(t *testing.T) {
	c := named("obs", "gateway")
	d := change("Deployment", "gateway-collector", reconcile.ActionUpdate)
	path := func(name string) string { return container + `.env[name="` + name + `"].value` }
	d.Fields = []reconcile.FieldChange{
		{Path: path("A_TOKEN"), Op: reconcile.FieldSet, Old: "abc", New: "defghijk"},
		{Path: path("B_TOKEN"), Op: reconcile.FieldSet, Old: "defghijk", New: "abc"},
	}
	c.Changes = []reconcile.Change{d}
	c.Configs = &reconcile.ConfigChange{OldName: "a", NewName: "b", Old: "token: of-the-old-one\n", New: "token: defghijk\n"}
	c.Warnings = []string{"defghijk is odd"}
	for format, want := range map[show.Format]string{show.Text: "#1 #2 #1 #1 #2 #3 #1", show.JSON: "#1 #2 #2 #1 #3 #2 #2"} {
		got, _ := printed(t, []show.Collector{c}, show.Options{Format: format})
		if numbers := strings.Join(regexp.MustCompile(`#\d+`).FindAllString(got, -1), " "); numbers != want {
			t.Errorf("%s: got %s, want %s, in\n%s", format, numbers, want, got)
		}
	}
}
