package storagemigration_test

import (
	"testing"

	"github.com/yare-io/yare/apiserver/api/rowtest"
	"github.com/yare-io/yare/apiserver/api/storagemigration"
)

func TestMigrations(t *testing.T) {
	r := rowtest.Row(t, storagemigration.Resources(), "storageversionmigrations")
	const base = "metadata: {name: m}\nspec: {resource: {group: apps, resource: deployments}}"
	rowtest.Creates(t, r, base, rowtest.Cases{
		{"no resource", `spec: {resource: {resource: ""}}`, []string{"Required spec.resource.resource"}},
		{"resource", `spec: {resource: {resource: A.b}}`, []string{"Invalid spec.resource.resource"}},
		{"group", `spec: {resource: {group: A}}`, []string{"Invalid spec.resource.group"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"another resource", "spec: {resource: {resource: pods}}", []string{"Invalid spec"}},
	})
	condition := func(kind string) string {
		return `{type: ` + kind + `, status: "True", reason: R, lastTransitionTime: "2026-01-01T00:00:00Z"}`
	}
	rowtest.Updates(t, r, r.Subresources[0].Part, base+"\nstatus: {resourceVersion: \"7\", conditions: ["+condition("Succeeded")+"]}", rowtest.Cases{
		{"version", `status: {resourceVersion: "8"}`, []string{"Invalid status.resourceVersion"}},
		{"also failed", `status: {conditions: [` + condition("Succeeded") + `, ` + condition("Failed") + `]}`, []string{"Invalid status.conditions"}},
		{"runs again", `status: {conditions: [` + condition("Running") + `]}`, []string{"Invalid status.conditions"}},
	})
}
