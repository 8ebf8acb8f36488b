package ownership

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

var kind = corev1.SchemeGroupVersion.WithKind("Owner")

func thing(name string, matches bool, owner types.UID) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name), Labels: map[string]string{"app": "other"}}}
	if matches {
		pod.Labels["app"] = "web"
	}
	if owner != "" {
		pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(&metav1.ObjectMeta{Name: string(owner), UID: owner}, kind)}
	}
	return pod
}

func TestClaimAdoptsReleasesAndLeavesOthersAlone(t *testing.T) {
	owner := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "me", Namespace: "default", UID: "me"}}
	dying := thing("dying-orphan", true, "")
	now := metav1.Now()
	dying.DeletionTimestamp = &now
	candidates := []*corev1.Pod{
		thing("owned", true, "me"), thing("stranger", false, "me"), thing("orphan", true, ""),
		thing("foreign", true, "you"), thing("unrelated", false, ""), dying,
	}
	patches := map[string]string{}
	claimer := Claimer[*corev1.Pod]{
		Owner: owner, Kind: kind,
		Fresh: func(context.Context) (metav1.Object, error) { return owner, nil },
		Patch: func(_ context.Context, name string, patch []byte) error { patches[name] = string(patch); return nil },
	}
	owned, err := claimer.Claim(t.Context(), labels.SelectorFromSet(labels.Set{"app": "web"}), candidates)
	if err != nil || len(owned) != 2 || owned[0].Name != "owned" || owned[1].Name != "orphan" {
		t.Errorf("owned: %v, %v", owned, err)
	}
	if len(patches) != 2 || !strings.Contains(patches["orphan"], `"controller":true`) || !strings.Contains(patches["stranger"], `"$patch":"delete"`) {
		t.Errorf("patches: %v", patches)
	}
}

func TestDeletedOwnerAdoptsNothing(t *testing.T) {
	owner := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "me", Namespace: "default", UID: "me"}}
	for name, fresh := range map[string]func(context.Context) (metav1.Object, error){
		"another object by now": func(context.Context) (metav1.Object, error) { return &metav1.ObjectMeta{UID: "new"}, nil },
		"being deleted": func(context.Context) (metav1.Object, error) {
			now := metav1.Now()
			return &metav1.ObjectMeta{UID: "me", DeletionTimestamp: &now}, nil
		},
		"not to be read": func(context.Context) (metav1.Object, error) { return nil, errors.New("no") },
	} {
		t.Run(name, func(t *testing.T) {
			claimer := Claimer[*corev1.Pod]{Owner: owner, Kind: kind, Fresh: fresh,
				Patch: func(context.Context, string, []byte) error { t.Error("patched"); return nil }}
			owned, err := claimer.Claim(t.Context(), labels.Everything(), []*corev1.Pod{thing("owned", true, "me"), thing("orphan", true, "")})
			if err == nil || len(owned) != 1 {
				t.Errorf("owned: %v, %v", owned, err)
			}
		})
	}
}
