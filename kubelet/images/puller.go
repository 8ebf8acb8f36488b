// Package images sees to it that a container's image is on the node: pull policies, credentials, back-off, and the
// removal of images nobody uses when the disk fills up. It refuses to know what images are for.
package images

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	"github.com/yare-io/yare/kubelet/cri"
	"github.com/yare-io/yare/kubelet/events"
	"github.com/yare-io/yare/kubelet/plan"
)

// Error is a failure to provide an image, with the reason that a container's status shows.
type Error struct{ Reason, Message string }

func (e *Error) Error() string { return e.Message }

// Puller makes images present. It is safe for concurrent use.
type Puller struct {
	cri     *cri.Client
	events  events.Recorder
	clock   clock.PassiveClock
	secrets Secrets
	slots   chan struct{}

	mu      sync.Mutex
	backoff *plan.Backoff
	failed  map[string]failure
}

// Secrets fetches pull secrets.
type Secrets interface {
	Secret(ctx context.Context, namespace, name string) (*v1.Secret, error)
}

type failure struct {
	at      time.Time
	message string
}

// maxFailures bounds how many failed images are remembered; the oldest go first.
const maxFailures = 1000

// NewPuller returns a puller that runs at most parallel pulls at a time.
func NewPuller(client *cri.Client, recorder events.Recorder, secrets Secrets, parallel int, c clock.PassiveClock) *Puller {
	return &Puller{
		cri: client, events: recorder, clock: c, secrets: secrets,
		slots:   make(chan struct{}, max(1, parallel)),
		backoff: plan.NewBackoff(plan.InitialBackoff, plan.MaxBackoff),
		failed:  map[string]failure{},
	}
}

// Ensure returns the container's image, pulling it if its policy says so. Errors are of type *Error.
func (p *Puller) Ensure(ctx context.Context, pod *v1.Pod, c *v1.Container, sandbox *runtimeapi.PodSandboxConfig) (*runtimeapi.Image, error) {
	image := withTag(c.Image)
	present, err := p.cri.ImageStatus(ctx, image)
	if err != nil {
		message := fmt.Sprintf("Failed to inspect image %q: %v", c.Image, err)
		p.events.Container(pod, c.Name, v1.EventTypeWarning, "InspectFailed", "%s", message)
		return nil, &Error{Reason: "ImageInspectError", Message: message}
	}
	policy := pullPolicy(c)
	if present != nil && policy != v1.PullAlways {
		p.events.Container(pod, c.Name, v1.EventTypeNormal, "Pulled",
			"Container image %q already present on machine and can be accessed by the pod", c.Image)
		return present, nil
	}
	if policy == v1.PullNever {
		message := fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
		p.events.Container(pod, c.Name, v1.EventTypeWarning, "ErrImageNeverPull", "%s", message)
		return nil, &Error{Reason: "ErrImageNeverPull", Message: message}
	}
	if held := p.held(pod, image); held != nil {
		p.events.Container(pod, c.Name, v1.EventTypeNormal, "BackOff", "Back-off pulling image %q", c.Image)
		return nil, held
	}
	return p.pull(ctx, pod, c, image, sandbox)
}

func (p *Puller) pull(ctx context.Context, pod *v1.Pod, c *v1.Container, image string, sandbox *runtimeapi.PodSandboxConfig) (*runtimeapi.Image, error) {
	p.events.Container(pod, c.Name, v1.EventTypeNormal, "Pulling", "Pulling image %q", c.Image)
	asked := p.clock.Now()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, &Error{Reason: "ErrImagePull", Message: ctx.Err().Error()}
	}
	began := p.clock.Now()
	err := p.pullWithSecrets(ctx, pod, image, sandbox)
	if err != nil {
		p.fail(pod, image, err)
		p.events.Container(pod, c.Name, v1.EventTypeWarning, "Failed", "Failed to pull image %q: %v", c.Image, err)
		return nil, &Error{Reason: "ErrImagePull", Message: err.Error()}
	}
	p.forget(pod, image)
	pulled, err := p.cri.ImageStatus(ctx, image)
	if err != nil || pulled == nil {
		return nil, &Error{Reason: "ImageInspectError", Message: fmt.Sprintf("Failed to inspect image %q after pulling it: %v", c.Image, err)}
	}
	now := p.clock.Now()
	p.events.Container(pod, c.Name, v1.EventTypeNormal, "Pulled",
		"Successfully pulled image %q in %v (%v including waiting). Image size: %d bytes.", c.Image,
		now.Sub(began).Truncate(time.Millisecond), now.Sub(asked).Truncate(time.Millisecond), pulled.Size)
	return pulled, nil
}

// pullWithSecrets tries each matching credential, and at last none.
func (p *Puller) pullWithSecrets(ctx context.Context, pod *v1.Pod, image string, sandbox *runtimeapi.PodSandboxConfig) error {
	var secrets []*v1.Secret
	for _, ref := range pod.Spec.ImagePullSecrets {
		secret, err := p.secrets.Secret(ctx, pod.Namespace, ref.Name)
		if err != nil {
			p.events.Pod(pod, v1.EventTypeWarning, "FailedToRetrieveImagePullSecret",
				"Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", ref.Name)
			continue
		}
		secrets = append(secrets, secret)
	}
	credentials := append(Credentials(secrets, image), nil)
	var err error
	for i, auth := range credentials {
		if auth == nil && i > 0 {
			break
		}
		if _, err = p.cri.PullImage(ctx, image, auth, sandbox); err == nil {
			return nil
		}
	}
	return err
}

func failureKey(pod *v1.Pod, image string) string { return string(pod.UID) + "/" + image }

func (p *Puller) held(pod *v1.Pod, image string) *Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := failureKey(pod, image)
	last, ok := p.failed[key]
	if !ok {
		return nil
	}
	if _, left := p.backoff.Remaining(key, last.at, p.clock.Now()); left > 0 {
		return &Error{Reason: "ImagePullBackOff", Message: fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", image, last.message)}
	}
	return nil
}

func (p *Puller) fail(pod *v1.Pod, image string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key, now := failureKey(pod, image), p.clock.Now()
	if len(p.failed) >= maxFailures {
		p.dropOldest()
	}
	p.failed[key] = failure{at: now, message: err.Error()}
	p.backoff.Next(key, now, now)
}

func (p *Puller) dropOldest() {
	oldest := ""
	for key, f := range p.failed {
		if oldest == "" || f.at.Before(p.failed[oldest].at) {
			oldest = key
		}
	}
	delete(p.failed, oldest)
	p.backoff.Reset(oldest)
}

func (p *Puller) forget(pod *v1.Pod, image string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.failed, failureKey(pod, image))
	p.backoff.Reset(failureKey(pod, image))
}

func pullPolicy(c *v1.Container) v1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	if strings.HasSuffix(withTag(c.Image), ":latest") {
		return v1.PullAlways
	}
	return v1.PullIfNotPresent
}

// withTag adds the implied tag to an image name that has neither tag nor digest.
func withTag(image string) string {
	if strings.Contains(image, "@") {
		return image
	}
	name := image[strings.LastIndexByte(image, '/')+1:]
	if strings.Contains(name, ":") {
		return image
	}
	return image + ":latest"
}
