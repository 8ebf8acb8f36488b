package policy

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// generation names the state of an object's spec: writes of the status do not
// change it.
func generation(m metav1.Object) string { return fmt.Sprintf("%s/%d", m.GetUID(), m.GetGeneration()) }
