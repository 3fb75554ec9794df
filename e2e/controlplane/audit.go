package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Audit answers from the API server's audit log which writes a client made.
type Audit struct {
	log AuditLog
	api client
}

// AuditLog is the audit log of an API server, wherever it is kept. It must have what [AuditPolicy] asks for, in one file that is never
// rotated: positions have to stay valid.
type AuditLog interface {
	// Size is how many bytes there are, 0 when there is no log yet.
	Size(ctx context.Context) (int64, error)
	// Read returns the bytes in [from, to), up to the end if to is negative.
	Read(ctx context.Context, from, to int64) ([]byte, error)
}

// NewAudit returns the reader of an API server's audit log. config may ask for /version there.
func NewAudit(log AuditLog, config *rest.Config) (*Audit, error) {
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return &Audit{log: log, api: client{set}}, nil
}

// AuditPolicy is the policy of the audit logs that can be read here, as the file for the API server's --audit-policy-file.
func AuditPolicy() []byte { return bytes.Clone(auditPolicy) }

// Position is a place in the audit log: every request that was answered before Mark was called lies before it.
type Position int64

// Write is one request that was meant to change something, as the API server answered it.
type Write struct {
	Verb         string // create, update, patch (also server-side apply), delete, deletecollection
	Group        string // "" for the core group
	Resource     string // in the plural: statefulsets
	Subresource  string // status, scale; "" for the object itself
	Namespace    string // "" for an object of the cluster
	Name         string // "" for deletecollection
	Code         int    // HTTP status of the answer
	DryRun       bool   // nothing was to be stored
	FieldManager string // as the request gave it; "" if it left it to the API server
	User         string // whose permissions counted: the impersonated user, if any
	UserAgent    string

	// Of deletions: what is to become of dependents, as metav1.DeletionPropagation has it, and the UID that the object must have;
	// both "" where the request left them open.
	Propagation     string
	PreconditionUID string
}

// String is the verb and the resource: "patch statefulsets.apps", "patch pods/status".
func (w Write) String() string {
	resource := w.Resource
	if w.Group != "" {
		resource += "." + w.Group
	}
	if w.Subresource != "" {
		resource += "/" + w.Subresource
	}
	return w.Verb + " " + resource
}

// Persisted says whether the API server stored the result: no dry run, no error, and not one of the reviews that are
// created to be answered only. A write that changed nothing counts; the log can't tell.
func (w Write) Persisted() bool {
	review := w.Group == "authentication.k8s.io" || w.Group == "authorization.k8s.io"
	return w.Code < 400 && !w.DryRun && !review
}

// Persisted returns the writes whose result was stored.
func Persisted(writes []Write) []Write {
	var stored []Write
	for _, w := range writes {
		if w.Persisted() {
			stored = append(stored, w)
		}
	}
	return stored
}

// Counts says how often each verb was used on each resource, with keys as [Write.String] writes them.
func Counts(writes []Write) map[string]int {
	counts := map[string]int{}
	for _, w := range writes {
		counts[w.String()]++
	}
	return counts
}

// Audit returns the reader of this control plane's audit log.
func (cp *ControlPlane) Audit() *Audit {
	return &Audit{log: auditFile(cp.file("audit.log")), api: cp.api}
}

// Mark returns the present end of the log.
func (a *Audit) Mark(ctx context.Context) (Position, error) {
	_, end, err := a.mark(ctx)
	return end, err
}

// Writes returns the writes that were answered since a position, in the order of their answers, of all clients whose
// User-Agent begins with client: "otelier/", "kubectl/", "kube-controller-manager/"; "" means all.
func (a *Audit) Writes(ctx context.Context, since Position, client string) ([]Write, error) {
	end, _, err := a.mark(ctx)
	if err != nil {
		return nil, err
	}
	data, err := a.read(ctx, since, end)
	if err != nil {
		return nil, err
	}
	var writes []Write
	for line := range bytes.Lines(data) {
		var event auditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		if event.ObjectRef != nil && strings.HasPrefix(event.UserAgent, client) {
			writes = append(writes, newWrite(&event))
		}
	}
	return writes, nil
}

// auditEvent is the part of a line of the log that is of use here.
//
// https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Event
type auditEvent struct {
	RequestURI       string     `json:"requestURI"`
	Verb             string     `json:"verb"`
	User             auditUser  `json:"user"`
	ImpersonatedUser *auditUser `json:"impersonatedUser"`
	UserAgent        string     `json:"userAgent"`
	ObjectRef        *struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus *struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	RequestObject *metav1.DeleteOptions `json:"requestObject"` // logged of deletions only
}

type auditUser struct {
	Name string `json:"username"`
}

func newWrite(event *auditEvent) Write {
	w := Write{
		Verb:        event.Verb,
		Group:       event.ObjectRef.APIGroup,
		Resource:    event.ObjectRef.Resource,
		Subresource: event.ObjectRef.Subresource,
		Namespace:   event.ObjectRef.Namespace,
		Name:        event.ObjectRef.Name,
		User:        event.User.Name,
		UserAgent:   event.UserAgent,
	}
	if event.ImpersonatedUser != nil {
		w.User = event.ImpersonatedUser.Name
	}
	if event.ResponseStatus != nil {
		w.Code = event.ResponseStatus.Code
	}
	if uri, err := url.Parse(event.RequestURI); err == nil {
		w.DryRun = uri.Query().Has("dryRun")
		w.FieldManager = uri.Query().Get("fieldManager")
		w.Propagation = uri.Query().Get("propagationPolicy")
	}
	w.deletion(event.RequestObject)
	return w
}

// deletion adds what the body of a deletion says. The API server reads the query only when there is none.
func (w *Write) deletion(options *metav1.DeleteOptions) {
	if options == nil {
		return
	}
	w.DryRun = w.DryRun || len(options.DryRun) > 0
	if options.PropagationPolicy != nil {
		w.Propagation = string(*options.PropagationPolicy)
	}
	if p := options.Preconditions; p != nil && p.UID != nil {
		w.PreconditionUID = string(*p.UID)
	}
}

// mark makes a request of its own and finds it in the log. A request's line may appear shortly after its answer, but
// the lines of requests answered before ours was sent do not come after ours. It returns where that line begins and
// ends.
func (a *Audit) mark(ctx context.Context) (begin, end Position, err error) {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not there after %s", patience))
	defer cancel()
	size, err := a.log.Size(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("audit log: %w", err)
	}
	from := Position(size)
	token := newToken()
	err = a.api.Discovery().RESTClient().Get().AbsPath("/version").Param("marker", token).Do(ctx).Error()
	if err != nil {
		return 0, 0, fmt.Errorf("audit log: marker: %w", err)
	}
	err = until(ctx, "audit log", nil, func(ctx context.Context) error {
		data, err := a.read(ctx, from, -1)
		if err != nil {
			return err
		}
		at := bytes.Index(data, []byte(token))
		length := bytes.IndexByte(data[max(at, 0):], '\n')
		if at < 0 || length < 0 {
			return fmt.Errorf("no line with marker %s yet", token)
		}
		begin = from + Position(bytes.LastIndexByte(data[:at], '\n')+1)
		end = from + Position(at+length+1)
		return nil
	})
	return begin, end, err
}

// read returns the part of the log between two positions, up to its end if to is negative.
func (a *Audit) read(ctx context.Context, from, to Position) ([]byte, error) {
	data, err := a.log.Read(ctx, int64(from), int64(to))
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	return data, nil
}

// auditFile is an audit log in a file of this machine.
type auditFile string

func (f auditFile) Size(context.Context) (int64, error) {
	info, err := os.Stat(string(f))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f auditFile) Read(ctx context.Context, from, to int64) ([]byte, error) {
	file, err := os.Open(string(f))
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read from
	if to < 0 {
		if to, err = f.Size(ctx); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(io.NewSectionReader(file, from, to-from))
}
