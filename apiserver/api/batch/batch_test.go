package batch

import (
	"math"
	"testing"

	batchv1 "k8s.io/api/batch/v1"

	"github.com/yare-io/yare/apiserver/api/rowtest"
)

const job = `
metadata: {name: sum, namespace: default, uid: u}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}
`

func TestJob(t *testing.T) {
	r := rowtest.Row(t, Resources(), "jobs")
	rowtest.Creates(t, r, job, rowtest.Cases{
		{"pods that never end", "spec: {template: {spec: {restartPolicy: Always}}}", []string{"Required spec.template.spec.restartPolicy"}},
		{"fewer than none", "spec: {parallelism: -1}", []string{"Invalid spec.parallelism"}},
		{"negative deadline", "spec: {activeDeadlineSeconds: -1}", []string{"Invalid spec.activeDeadlineSeconds"}},
		{"a selector of the client's", "spec: {selector: {matchLabels: {a: b}}}", []string{"Invalid spec.selector", "Invalid spec.template.metadata.labels"}},
		{"manual selection without a selector", "spec: {manualSelector: true}", []string{"Required spec.selector"}},
		{"manual selection", "spec: {manualSelector: true, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}}}", nil},
		{"indexed without completions", "spec: {completionMode: Indexed, parallelism: 1}", []string{"Required spec.completions"}},
		{"unknown mode", "spec: {completionMode: Some}", []string{"NotSupported spec.completionMode"}},
		{"limit by index without indexes", "spec: {backoffLimitPerIndex: 1}", []string{"Invalid spec.backoffLimitPerIndex"}},
		{"failure rule of nothing", "spec: {podFailurePolicy: {rules: [{action: Ignore}]}}", []string{"Invalid spec.podFailurePolicy.rules[0]"}},
		{"failure rule for success", "spec: {podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [0]}}]}}", []string{"Invalid spec.podFailurePolicy.rules[0].onExitCodes.values[0]"}},
		{"failure rule out of order", "spec: {podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [2, 1]}}]}}", []string{"Invalid spec.podFailurePolicy.rules[0].onExitCodes.values"}},
		{"success policy without indexes", "spec: {successPolicy: {rules: [{succeededCount: 1}]}}", []string{"Invalid spec.successPolicy"}},
		{"success policy of nothing", "spec: {completionMode: Indexed, completions: 3, successPolicy: {rules: [{}]}}", []string{"Required spec.successPolicy.rules[0]"}},
		{"success policy of too many", "spec: {completionMode: Indexed, completions: 3, successPolicy: {rules: [{succeededCount: 4}]}}", []string{"Invalid spec.successPolicy.rules[0].succeededCount"}},
		{"unknown replacement", "spec: {podReplacementPolicy: Never}", []string{"NotSupported spec.podReplacementPolicy"}},
	})
}

func TestJobKnowsItsPods(t *testing.T) {
	r := rowtest.Row(t, Resources(), "jobs")
	j := rowtest.Object(t, r, job, "").(*batchv1.Job)
	rowtest.Expect(t, rowtest.Create(r, j))
	if j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel] != "u" || j.Spec.Template.Labels[batchv1.JobNameLabel] != "sum" || j.Spec.Template.Labels["job-name"] != "sum" {
		t.Errorf("selector %v, labels %v", j.Spec.Selector, j.Spec.Template.Labels)
	}
	if *j.Spec.BackoffLimit != 6 || *j.Spec.Completions != 1 || *j.Spec.Parallelism != 1 {
		t.Errorf("defaults: %+v", j.Spec)
	}
	indexed := rowtest.Object(t, r, job, "spec: {backoffLimitPerIndex: 1, completionMode: Indexed, completions: 2}").(*batchv1.Job)
	rowtest.Expect(t, rowtest.Create(r, indexed))
	if *indexed.Spec.BackoffLimit != math.MaxInt32 {
		t.Errorf("backoff limit %d", *indexed.Spec.BackoffLimit)
	}
}

func TestJobUpdate(t *testing.T) {
	r := rowtest.Row(t, Resources(), "jobs")
	base := `
metadata: {name: sum, namespace: default, uid: u}
spec:
  completions: 1
  parallelism: 1
  manualSelector: true
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}
`
	rowtest.Updates(t, r, &r.Strategy, base, rowtest.Cases{
		{"more at once", "spec: {parallelism: 3}", nil},
		{"suspended", "spec: {suspend: true}", nil},
		{"another image", "spec: {template: {spec: {containers: [{name: c, image: j}]}}}", []string{"Invalid spec.template"}},
		{"more to do", "spec: {completions: 2}", []string{"Invalid spec.completions"}},
		{"elsewhere", "spec: {template: {spec: {nodeSelector: {a: b}}}}", []string{"Invalid spec.template"}},
	})
	rowtest.Updates(t, r, &r.Strategy, base+"  suspend: true\n", rowtest.Cases{
		{"elsewhere while suspended", "spec: {template: {spec: {nodeSelector: {a: b}}}}", nil},
	})
	done := base + "status: {startTime: '2026-01-01T00:00:00Z', conditions: [{type: Complete, status: 'True'}]}\n"
	rowtest.Updates(t, r, r.Subresources[0].Part, done, rowtest.Cases{
		{"undone", "status: {conditions: []}", []string{"Invalid status.conditions"}},
		{"done and failed", "status: {conditions: [{type: Complete, status: 'True'}, {type: Failed, status: 'True'}]}", []string{"Invalid status.conditions"}},
		{"done before it began", "status: {completionTime: '2025-01-01T00:00:00Z'}", []string{"Invalid status.completionTime"}},
	})
}

func TestCronJob(t *testing.T) {
	r := rowtest.Row(t, Resources(), "cronjobs")
	rowtest.Creates(t, r, `
metadata: {name: nightly, namespace: default}
spec:
  schedule: "0 3 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}
`, rowtest.Cases{
		{"no schedule", "spec: {schedule: null}", []string{"Required spec.schedule"}},
		{"schedule that is none", "spec: {schedule: now and then}", []string{"Invalid spec.schedule"}},
		{"schedule with a zone", "spec: {schedule: 'TZ=UTC 0 3 * * *'}", []string{"Invalid spec.schedule"}},
		{"schedule that is only a zone", "spec: {schedule: 'TZ=0'}", []string{"Invalid spec.schedule"}},
		{"unknown zone", "spec: {timeZone: Middle/Earth}", []string{"Invalid spec.timeZone"}},
		{"the server's zone", "spec: {timeZone: local}", []string{"Invalid spec.timeZone"}},
		{"unknown policy", "spec: {concurrencyPolicy: Maybe}", []string{"NotSupported spec.concurrencyPolicy"}},
		{"name too long for its jobs", "metadata: {name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}", []string{"Invalid metadata.name"}},
		{"manual selection", "spec: {jobTemplate: {spec: {manualSelector: true}}}", []string{"NotSupported spec.jobTemplate.spec.manualSelector"}},
		{"pods that never end", "spec: {jobTemplate: {spec: {template: {spec: {restartPolicy: Always}}}}}", []string{"Required spec.jobTemplate.spec.template.spec.restartPolicy"}},
	})
}

func FuzzCountIndexes(f *testing.F) {
	for _, s := range []string{"0", "1,3-5", "3-1", "-", "1,,2", "99999999999", "0-2147483647"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const completions = 1000
		n, err := countIndexes(text, completions)
		if err == nil && (n < 1 || n > completions) {
			t.Errorf("%q names %d of %d indexes", text, n, completions)
		}
	})
}

func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"@every 1s", "TZ=", "CRON_TZ=UTC * * * * *", "*/0 * * * *", "0-60 * * * *"} {
		f.Add(s)
	}
	r := Resources()[0]
	f.Fuzz(func(t *testing.T, text string) {
		c := r.New().(*batchv1.CronJob)
		c.Spec.Schedule = text
		rowtest.Create(r, c)
	})
}
