package serviceaccount

import (
	"context"
	"fmt"
	"slices"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/yare-io/yare/apiserver/registry"
)

const (
	minLifetime     = 10 * time.Minute
	defaultLifetime = time.Hour
	// The kubelet asks for tokens of this odd span on behalf of pods whose
	// client libraries may not reload them; those get a year, and are marked
	// stale after the span.
	warnOnlyLifetime = 3607 * time.Second
	extendedLifetime = 365 * 24 * time.Hour
)

// Requests answers the token subresource of service accounts.
type Requests struct {
	// Issuer signs.
	Issuer *Issuer
	// Audiences are what a token without any is for.
	Audiences []string
	// MaxLifetime caps what clients ask for; zero: no cap.
	MaxLifetime time.Duration
	// Extend gives pod tokens of the kubelet's odd span a year, as
	// --service-account-extend-token-expiration does.
	Extend bool
}

// Create is the Action for POST …/serviceaccounts/NAME/token. The body is a
// TokenRequest, and so is the answer, with its status filled.
func (r *Requests) Create(ctx context.Context, call registry.Call) (runtime.Object, error) {
	request, ok := call.Object.(*authenticationv1.TokenRequest)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("expected a TokenRequest, got %T", call.Object))
	}
	request = request.DeepCopy()
	if len(request.Spec.Audiences) == 0 {
		request.Spec.Audiences = slices.Clone(r.Audiences)
	}
	if request.Spec.ExpirationSeconds == nil {
		seconds := int64(defaultLifetime / time.Second)
		request.Spec.ExpirationSeconds = &seconds
	}
	if errs := validateRequest(&request.Spec); len(errs) > 0 {
		return nil, apierrors.NewInvalid(authenticationv1.SchemeGroupVersion.WithKind("TokenRequest").GroupKind(), call.Name, errs)
	}
	binding, err := bind(ctx, call, request.Spec.BoundObjectRef)
	if err != nil {
		return nil, err
	}
	lifetime, warnAfter := r.lifetimes(request)
	token, err := r.Issuer.Issue(*binding, request.Spec.Audiences, lifetime, warnAfter)
	if err != nil {
		return nil, err
	}
	return answer(call, request, token, lifetime, warnAfter), nil
}

func answer(call registry.Call, request *authenticationv1.TokenRequest, token Token, lifetime, warnAfter time.Duration) *authenticationv1.TokenRequest {
	expires := token.Expires
	if warnAfter > 0 { // the client must come back as if the token were short
		expires = expires.Add(warnAfter - lifetime)
	}
	request.Name, request.Namespace = call.Name, call.Namespace
	request.CreationTimestamp = metav1.NewTime(token.Expires.Add(-lifetime))
	request.Status = authenticationv1.TokenRequestStatus{Token: token.Value, ExpirationTimestamp: metav1.NewTime(expires)}
	return request
}

// lifetimes are how long the token lives, and after how long its use is stale
// (zero: never).
func (r *Requests) lifetimes(request *authenticationv1.TokenRequest) (lifetime, warnAfter time.Duration) {
	lifetime = time.Duration(*request.Spec.ExpirationSeconds) * time.Second
	if r.MaxLifetime > 0 && lifetime > r.MaxLifetime {
		lifetime = r.MaxLifetime
		*request.Spec.ExpirationSeconds = int64(lifetime / time.Second)
	}
	forServer := !slices.ContainsFunc(request.Spec.Audiences, func(a string) bool { return !slices.Contains(r.Audiences, a) })
	forPod := request.Spec.BoundObjectRef != nil && request.Spec.BoundObjectRef.Kind == "Pod"
	if r.Extend && forPod && forServer && lifetime == warnOnlyLifetime {
		return extendedLifetime, warnOnlyLifetime
	}
	return lifetime, 0
}

func validateRequest(spec *authenticationv1.TokenRequestSpec) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec")
	seconds := *spec.ExpirationSeconds
	if seconds < int64(minLifetime/time.Second) {
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes"))
	}
	if seconds > 1<<32 {
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds"))
	}
	return errs
}

// bind reads the account and the object that the token shall be bound to.
func bind(ctx context.Context, call registry.Call, ref *authenticationv1.BoundObjectReference) (*Binding, error) {
	object, err := call.Objects.Get(ctx, corev1.Resource("serviceaccounts"), call.Namespace, call.Name)
	if err != nil {
		return nil, err
	}
	account, ok := object.(*corev1.ServiceAccount)
	if !ok {
		return nil, fmt.Errorf("service account %s/%s is a %T", call.Namespace, call.Name, object)
	}
	b := &Binding{Namespace: call.Namespace, ServiceAccount: refTo(account)}
	if ref == nil {
		return b, nil
	}
	uid, err := bindObject(ctx, call, ref, b)
	if err != nil {
		return nil, err
	}
	if ref.UID != "" && ref.UID != uid {
		kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind)
		return nil, apierrors.NewConflict(schema.GroupResource{Group: kind.Group, Resource: ref.Kind}, ref.Name, fmt.Errorf(
			"the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID))
	}
	return b, nil
}

func bindObject(ctx context.Context, call registry.Call, ref *authenticationv1.BoundObjectReference, b *Binding) (types.UID, error) {
	switch kind := schema.FromAPIVersionAndKind(ref.APIVersion, ref.Kind); kind {
	case corev1.SchemeGroupVersion.WithKind("Pod"):
		return bindPod(ctx, call, ref.Name, b)
	case corev1.SchemeGroupVersion.WithKind("Secret"):
		object, err := call.Objects.Get(ctx, corev1.Resource("secrets"), call.Namespace, ref.Name)
		if err != nil {
			return "", err
		}
		target := refTo(object.(metav1.Object))
		b.Secret = &target
		return types.UID(target.UID), nil
	case corev1.SchemeGroupVersion.WithKind("Node"):
		object, err := call.Objects.Get(ctx, corev1.Resource("nodes"), "", ref.Name)
		if err != nil {
			return "", err
		}
		target := refTo(object.(metav1.Object))
		b.Node = &target
		return types.UID(target.UID), nil
	default:
		return "", apierrors.NewBadRequest(fmt.Sprintf("cannot bind token to object of type %s", kind))
	}
}

func bindPod(ctx context.Context, call registry.Call, name string, b *Binding) (types.UID, error) {
	object, err := call.Objects.Get(ctx, corev1.Resource("pods"), call.Namespace, name)
	if err != nil {
		return "", err
	}
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return "", fmt.Errorf("pod %s/%s is a %T", call.Namespace, name, object)
	}
	if pod.Spec.ServiceAccountName != call.Name {
		return "", apierrors.NewBadRequest(fmt.Sprintf("cannot bind token for serviceaccount %q to pod running with different serviceaccount name.", call.Name))
	}
	target := refTo(pod)
	b.Pod = &target
	if pod.Spec.NodeName == "" {
		return pod.UID, nil
	}
	b.Node = &Ref{Name: pod.Spec.NodeName}
	node, err := call.Objects.Get(ctx, corev1.Resource("nodes"), "", pod.Spec.NodeName)
	switch {
	case apierrors.IsNotFound(err): // a pod may outlive its node, or precede it
	case err != nil:
		return "", err
	default:
		*b.Node = refTo(node.(metav1.Object))
	}
	return pod.UID, nil
}

func refTo(object metav1.Object) Ref {
	return Ref{Name: object.GetName(), UID: string(object.GetUID())}
}
