package flowcontrol_test

import (
	"testing"

	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"

	"github.com/yare-io/yare/apiserver/api/flowcontrol"
	"github.com/yare-io/yare/apiserver/api/rowtest"
)

const schema = `
metadata: {name: mine}
spec:
  priorityLevelConfiguration: {name: global-default}
  distinguisherMethod: {type: ByUser}
  rules:
  - subjects: [{kind: User, user: {name: u}}]
    resourceRules: [{verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"], clusterScope: true}]
    nonResourceRules: [{verbs: [get], nonResourceURLs: ["/a/*"]}]
`

func TestFlowSchemas(t *testing.T) {
	r := rowtest.Row(t, flowcontrol.Resources(), "flowschemas")
	rules := func(text string) string { return "spec: {rules: [" + text + "]}" }
	subject := `subjects: [{kind: Group, group: {name: g}}]`
	rowtest.Creates(t, r, schema, rowtest.Cases{
		{"precedence below", "spec: {matchingPrecedence: -1}", []string{"Invalid spec.matchingPrecedence"}},
		{"precedence above", "spec: {matchingPrecedence: 10001}", []string{"Invalid spec.matchingPrecedence"}},
		{"precedence of exempt", "spec: {matchingPrecedence: 1}", []string{"Invalid spec.matchingPrecedence"}},
		{"distinguisher", "spec: {distinguisherMethod: {type: ByTime}}", []string{"NotSupported spec.distinguisherMethod.type"}},
		{"no level", `spec: {priorityLevelConfiguration: {name: ""}}`, []string{"Required spec.priorityLevelConfiguration.name"}},
		{"level's name", "spec: {priorityLevelConfiguration: {name: A_}}", []string{"Invalid spec.priorityLevelConfiguration.name"}},
		{"no subjects", rules(`{nonResourceRules: [{verbs: [get], nonResourceURLs: ["/"]}]}`), []string{"Required spec.rules[0].subjects"}},
		{"no rules", rules("{" + subject + "}"), []string{"Required spec.rules[0]"}},
		{"subject kind", rules(`{subjects: [{kind: X}], nonResourceRules: [{verbs: [get], nonResourceURLs: ["/"]}]}`), []string{"NotSupported spec.rules[0].subjects[0].kind"}},
		{"subject of another kind", rules(`{subjects: [{kind: User, group: {name: g}}], nonResourceRules: [{verbs: [get], nonResourceURLs: ["/"]}]}`),
			[]string{"Required spec.rules[0].subjects[0].user", "Forbidden spec.rules[0].subjects[0].group"}},
		{"account without namespace", rules(`{subjects: [{kind: ServiceAccount, serviceAccount: {name: "*"}}], nonResourceRules: [{verbs: [get], nonResourceURLs: ["/"]}]}`),
			[]string{"Required spec.rules[0].subjects[0].serviceAccount.namespace"}},
		{"verbs", rules("{" + subject + `, nonResourceRules: [{verbs: [get, fly], nonResourceURLs: ["/"]}]}`), []string{"NotSupported spec.rules[0].nonResourceRules[0].verbs"}},
		{"mixed verbs", rules("{" + subject + `, nonResourceRules: [{verbs: [get, "*"], nonResourceURLs: ["/"]}]}`), []string{"Invalid spec.rules[0].nonResourceRules[0].verbs"}},
		{"URL", rules("{" + subject + `, nonResourceRules: [{verbs: [get], nonResourceURLs: ["a", "/a*"]}]}`),
			[]string{"Invalid spec.rules[0].nonResourceRules[0].nonResourceURLs[0]", "Invalid spec.rules[0].nonResourceRules[0].nonResourceURLs[1]"}},
		{"neither scope", rules("{" + subject + `, resourceRules: [{verbs: [get], apiGroups: [""], resources: [pods]}]}`), []string{"Required spec.rules[0].resourceRules[0].namespaces"}},
		{"namespace", rules("{" + subject + `, resourceRules: [{verbs: [get], apiGroups: [""], resources: [pods], namespaces: [A]}]}`), []string{"Invalid spec.rules[0].resourceRules[0].namespaces[0]"}},
		{"fixed", "metadata: {name: catch-all}", []string{"Invalid spec"}},
	})
}

func TestPriorityLevels(t *testing.T) {
	r := rowtest.Row(t, flowcontrol.Resources(), "prioritylevelconfigurations")
	rowtest.Creates(t, r, "metadata: {name: mine}\nspec: {type: Limited, limited: {limitResponse: {type: Queue, queuing: {}}}}", rowtest.Cases{
		{"exempt by another name", "spec: {type: Exempt, limited: null}", []string{"Invalid spec.type"}},
		{"kind", "spec: {type: X}", []string{"NotSupported spec.type"}},
		{"both", "spec: {exempt: {}}", []string{"Forbidden spec.exempt"}},
		{"neither", "spec: {limited: null}", []string{"Required spec.limited"}},
		{"shares", "spec: {limited: {nominalConcurrencyShares: -1}}", []string{"Invalid spec.limited.nominalConcurrencyShares"}},
		{"lendable", "spec: {limited: {lendablePercent: 101}}", []string{"Invalid spec.limited.lendablePercent"}},
		{"borrowing", "spec: {limited: {borrowingLimitPercent: -1}}", []string{"Invalid spec.limited.borrowingLimitPercent"}},
		{"response", "spec: {limited: {limitResponse: {type: X}}}", []string{"NotSupported spec.limited.limitResponse.type"}},
		{"reject with queues", "spec: {limited: {limitResponse: {type: Reject}}}", []string{"Forbidden spec.limited.limitResponse.queuing"}},
		{"queues missing", "spec: {limited: {limitResponse: {queuing: null}}}", []string{"Required spec.limited.limitResponse.queuing"}},
		{"queue numbers", "spec: {limited: {limitResponse: {queuing: {queues: -1, handSize: -1, queueLengthLimit: -1}}}}",
			[]string{"Invalid spec.limited.limitResponse.queuing.queues", "Invalid spec.limited.limitResponse.queuing.handSize", "Invalid spec.limited.limitResponse.queuing.queueLengthLimit"}},
		{"hand larger than deck", "spec: {limited: {limitResponse: {queuing: {queues: 4, handSize: 5}}}}", []string{"Invalid spec.limited.limitResponse.queuing.handSize"}},
		{"entropy", "spec: {limited: {limitResponse: {queuing: {queues: 512, handSize: 8}}}}", []string{"Invalid spec.limited.limitResponse.queuing.handSize"}},
		{"fixed", "metadata: {name: catch-all}", []string{"Invalid spec"}},
	})
}

// TestBootstrapObjectsAreValid: what every cluster begins with passes, and
// defaults leave it as it is.
func TestBootstrapObjectsAreValid(t *testing.T) {
	rows := flowcontrol.Resources()
	for _, s := range append(bootstrap.MandatoryFlowSchemas, bootstrap.SuggestedFlowSchemas...) {
		rowtest.Expect(t, rowtest.Create(rowtest.Row(t, rows, "flowschemas"), s.DeepCopy()))
	}
	for _, l := range append(bootstrap.MandatoryPriorityLevelConfigurations, bootstrap.SuggestedPriorityLevelConfigurations...) {
		rowtest.Expect(t, rowtest.Create(rowtest.Row(t, rows, "prioritylevelconfigurations"), l.DeepCopy()))
	}
}
