package show

import "regexp"

// secretKey matches the names of what is secret: keys of configurations, variables, headers, arguments and annotations. Short words have
// to be words of their own.
const secretKey = `token|secret|passw(?:or)?d|passphrase|pwd|api[-_. ]?key` +
	`|(?:access|account|shared|licen[cs]e|ingest(?:ion)?|encryption|signing|instrumentation|write|insert|insights?|master|subscription|functions?` +
	`|app(?:lication)?|integration|auth|client|ssh|deploy|storage|hmac|session)[-_. ]?key` +
	`|authorization|credential|private[-_. ]?key|key[-_]pem|bearer|cookie|data[-_. ]?source|conn(?:ection)?[-_. ]?str(?:ing)?` +
	`|shared[-_. ]?access|webhook[-_. ]?ur[il]|x-amz-signature|x-honeycomb-team` +
	`|(?:\b|_)(?:(?:dsn|pat|sas|sig|community)(?:\b|_|\d)|(?:pass|pw)(?:\b|\d))|(?-i:[a-z](?:Dsn|Pat|Sas|Pass)\b)`

// secretVariable is what secretKey is for environment variables, such as OTEL_EXPORTER_OTLP_HEADERS.
const secretVariable = secretKey + `|_headers$|_auth$|_webhook$`

// schemes are those of the header Authorization.
const schemes = `(?:bearer|basic|token|api-?key|api-token|digest|negotiate|splunk)`

// tokens are secrets that are known by their form: those of GitHub, GitLab, Slack, AWS, OpenAI and Anthropic, Stripe, Google, Docker, npm,
// PyPI, Hugging Face, Vault, DigitalOcean, SendGrid, Grafana, Dynatrace, Honeycomb and New Relic, and JSON Web Tokens.
const tokens = `gh[oprsu]_\w{16,}|github_pat_\w{16,}|gl(?:pat|ptt|dt|rt|cbt|ft|imt|agent|soat|ffct|oas)-[\w-]{16,}|xox[a-z](?:\.[\w-]+)?-[\w-]{8,}|xapp-\d-[\w-]{8,}` +
	`|A[KS]IA[0-9A-Z]{12,}|sk-[\w-]*\w{16,}[\w-]*|[rs]k_(?:live|test)_\w{8,}|whsec_\w{16,}|AIza[\w-]{30,}|ya29\.[\w-]{16,}` +
	`|dckr_[a-z]{2,4}_[\w-]{16,}|npm_[A-Za-z0-9]{24,}|pypi-[\w-]{32,}|hf_[A-Za-z0-9]{24,}|hv[bs]\.[\w-]{16,}|do[opr]_v1_\w{16,}` +
	`|SG\.[\w-]{16,}\.[\w-]{16,}|glsa_\w{16,}|glc_[\w=+/-]{16,}|dt0[a-z]\d\d\.\w{16,}\.\w{16,}|hc[a-z]i[ck]_\w{16,}|NR[A-Z]{2}-[\w-]{16,}` +
	`|\w{30,}NRAL|eyJ[\w-]{4,}\.[\w-]{4,}(?:\.[\w-]*)+`

// hooks are URLs whose path is the secret: webhooks of Slack, Discord, Teams and Telegram, and the collection of Sumo Logic.
const hooks = `hooks\.slack\.com/[a-z]+/|discord(?:app)?\.com/api/webhooks/|webhook\.office\.com/webhookb2/|api\.telegram\.org/bot` +
	`|sumologic\.(?:com|net)/receiver/v1/[a-z]+/`

// authChar is a character of the header Authorization, or a reference.
const authChar = `(?:\$\{[^}\s]*\}|[^\s"'\\,;{}])`

// expressions find secrets by what is around them. Those of patterns have the secret as their second group.
type expressions struct {
	key, envKey, secretName                            *regexp.Regexp
	placeholder, reference, scheme                     *regexp.Regexp
	token, hook, login, userInfo, query, pair          *regexp.Regexp
	jsonPair, quotedPair, bearer, basic, pem           *regexp.Regexp
	authorization, headerFlag, quotedHeader, headerArg *regexp.Regexp
	flagWord, userFlag, comment, lineKey               *regexp.Regexp
	keyed, envPath, element                            *regexp.Regexp
}

func newExpressions() expressions {
	re := regexp.MustCompile
	return expressions{
		key:         re(`(?i)` + secretKey),
		envKey:      re(`(?i)` + secretVariable),
		secretName:  re(`(?i)secret[-_]?(?:name|ref)$`),
		placeholder: re(`‹redacted #\d+›`),
		reference:   re(`\$\{(?:env|file):[^}:]*\}|\$\{[A-Za-z_]\w*\}|\$\([A-Za-z_][\w.-]*\)`),
		scheme:      re(`(?i)^\s*` + schemes + `?[\s:]*$`),

		token: re(`(\b|_)(` + tokens + `)`),
		hook:  re(`(?i)(` + hooks + `)([^\s"'<>]+)`),
		// scheme://user:password@host and scheme://token@host
		login:    re(`(://[^\s"'<>/@:]*:)([^\s"'<>]*)@`),
		userInfo: re(`(://)([^\s"'<>/@:]+)@`),
		query:    re(`(?i)([?&][^=&\s]*(?:` + secretKey + `)[^=&\s]*=)([^&\s"'#]+)`),
		pair: re(`(?i)([\w.\-/]*(?:` + secretKey + `)[\w.\-]*["']?\s*=\s*)` +
			`("[^"]*"|'[^']*'|(?:` + schemes + `(?:\s+|%20))?[^\s&;,"']+)`),
		jsonPair:   re(`(?i)("[^"]*(?:` + secretKey + `)[^"]*"\s*:\s*)\\*"((?:[^"\\]|\\.)*)"`),
		quotedPair: re(`(?i)('[^'\n]*(?:` + secretKey + `)[^'\n]*'[ \t]*:[ \t]*)'([^'\n]*)'`),
		bearer:     re(`(\bBearer\s+)([A-Za-z0-9._~+/=-]{8,})`),
		basic:      re(`(\bBasic\s+)([A-Za-z0-9+/]{4,}[0-9+/][A-Za-z0-9+/]{3,}=*|[A-Za-z0-9+/]{6,}=+)`),
		pem:        re(`(?s)()(-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z))`),

		// without a scheme something that has a digit: "authorization: Required value" has no secret
		authorization: re(`(?i)(\b(?:proxy-)?authorization["']?[ \t]*:[ \t]*)` +
			`(` + schemes + `[ \t]+` + authChar + `{3,}|` + authChar + `*\d` + authChar + `{3,})`),
		headerFlag: re(`(?i)((?:^|\s)(?:-H|--headers?)[=\s]*["']?[\w-]*(?:` + secretKey + `)[\w-]*[ \t]*[:=][ \t]*)` +
			`((?:` + schemes + `[ \t]+)?[^\s"'\\]+)`),
		quotedHeader: re(`(?i)(["'][\w-]*(?:` + secretKey + `)[\w-]*[ \t]*:[ \t]*)([^"'\\\n]+)\\*["']`),
		headerArg:    re(`(?i)^([\w.-]*(?:` + secretKey + `)[\w.-]*:\s*)(.+)$`),
		flagWord:     re(`(?i)((?:^|\s)--?[\w.-]*(?:` + secretKey + `)[\w.-]*\s+["']?)([^\s"'-][^\s"']*)`),
		userFlag:     re(`((?:^|\s)(?:-u|--user|--proxy-user)[=\s]*["']?[^\s:"'/]+:)([^\s"'\\]+)`),

		comment: re(`(?i)(#.*?[\w./-]*(?:` + secretKey + `)[\w./-]*["']?\s*[:=]\s*)(\S.*)$`),
		lineKey: re(`(?i)^([ \t]*)((?:-[ \t]+)*["']?[^\s:#]*(?:` + secretKey + `)[^\s:]*["']?[ \t]*:)[ \t]*`),

		// .metadata.annotations.team and .data["collector.yaml"]
		keyed:   re(`\.(?:annotations|data)(?:\.(.+)|\[("(?:[^"\\]|\\.)*")\])$`),
		envPath: re(`\.env\[name=("(?:[^"\\]|\\.)*")\]\.value$`),
		element: re(`\.(\w+)\[[^\[]*\]$`),
	}
}

// patterns are those of running text.
func (e *expressions) patterns() []*regexp.Regexp {
	return []*regexp.Regexp{
		e.pem, e.token, e.hook, e.login, e.userInfo, e.query, e.headerFlag, e.authorization, e.pair, e.jsonPair, e.quotedPair, e.quotedHeader,
		e.bearer, e.basic,
	}
}

// words are those of a command line, which says more than running text.
func (e *expressions) words() []*regexp.Regexp { return []*regexp.Regexp{e.flagWord, e.userFlag} }
