package monitor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	kindSecret    = "Secret"
	kindConfigMap = "ConfigMap"
)

// assetKey identifies a Secret or a ConfigMap.
type assetKey struct{ kind, namespace, name string }

// assetSource gives Secrets (*corev1.Secret) and ConfigMaps (*corev1.ConfigMap) that must not be changed.
type assetSource interface {
	get(ctx context.Context, key assetKey) (any, error)
}

// reader is an assetSource for one translation, which notes what was read and what came of it.
type reader struct {
	source   assetSource
	settings settings
	refs     []assetKey
	values   []string // of Secrets that were read
	reason   string   // of the first read that failed
	denied   []assetKey
}

var errNotRead = errors.New("secrets of this namespace are not read: it is not one of spec.targetAllocator.prometheusCR.secretNamespaces (default: the collector's own)")

func (r *reader) read(ctx context.Context, key assetKey) (any, error) {
	if key.kind == kindSecret && !r.settings.secretsOf(key.namespace) {
		r.fail(ReasonForbidden)
		return nil, errNotRead
	}
	if problems := validation.IsDNS1123Subdomain(key.name); len(problems) > 0 {
		r.fail(ReasonMissingReference)
		return nil, fmt.Errorf("%q can't be the name of one: %s", key.name, problems[0])
	}
	if !slices.Contains(r.refs, key) {
		r.refs = append(r.refs, key)
	}
	o, err := r.source.get(ctx, key)
	switch {
	case err == nil:
	case apierrors.IsNotFound(err):
		r.fail(ReasonMissingReference)
	case apierrors.IsForbidden(err):
		r.fail(ReasonForbidden)
		r.denied = append(r.denied, key)
	default:
		r.fail(ReasonUnavailable)
	}
	if secret, ok := o.(*corev1.Secret); ok && err == nil {
		for _, v := range secret.Data {
			r.values = append(r.values, string(v))
		}
	}
	return o, err
}

func (r *reader) fail(reason string) {
	if r.reason == "" {
		r.reason = reason
	}
}

// redact takes the content of Secrets out of a message, also the beginnings that an error of a YAML parser quotes.
func (r *reader) redact(message string) string {
	const (
		shortest = 3  // Shorter values would take letters out of words.
		quoted   = 7  // What yaml.v3 quotes of a longer value.
		most     = 10 // What it quotes as a whole.
	)
	var all []string
	for _, v := range r.values {
		all = append(all, v, strings.TrimSpace(v))
		all = append(all, strings.Fields(v)...)
	}
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	for _, v := range slices.Compact(all) {
		if len(v) < shortest {
			continue
		}
		message = strings.ReplaceAll(message, v, "<secret>")
		if len(v) > most {
			message = strings.ReplaceAll(message, v[:quoted], "<secret>")
		}
	}
	return message
}

// secrets and configMaps are the part of a clientset that the library's store uses, answered by a reader. The rest is not implemented.
type secrets struct{ *reader }

type namespacedSecrets struct {
	corev1client.SecretInterface
	*reader
	namespace string
}

func (s secrets) Secrets(namespace string) corev1client.SecretInterface {
	return namespacedSecrets{reader: s.reader, namespace: namespace}
}

func (s namespacedSecrets) Get(ctx context.Context, name string, _ metav1.GetOptions) (*corev1.Secret, error) {
	o, err := s.read(ctx, assetKey{kindSecret, s.namespace, name})
	if err != nil {
		return nil, err
	}
	secret, ok := o.(*corev1.Secret)
	if !ok {
		return nil, fmt.Errorf("secret %s/%s: got a %T", s.namespace, name, o)
	}
	return secret, nil
}

type configMaps struct{ *reader }

type namespacedConfigMaps struct {
	corev1client.ConfigMapInterface
	*reader
	namespace string
}

func (c configMaps) ConfigMaps(namespace string) corev1client.ConfigMapInterface {
	return namespacedConfigMaps{reader: c.reader, namespace: namespace}
}

func (c namespacedConfigMaps) Get(ctx context.Context, name string, _ metav1.GetOptions) (*corev1.ConfigMap, error) {
	o, err := c.read(ctx, assetKey{kindConfigMap, c.namespace, name})
	if err != nil {
		return nil, err
	}
	cm, ok := o.(*corev1.ConfigMap)
	if !ok {
		return nil, fmt.Errorf("configmap %s/%s: got a %T", c.namespace, name, o)
	}
	return cm, nil
}
