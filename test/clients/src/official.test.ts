/** The official client for JavaScript, as its users call it. */
import assert from "node:assert/strict";
import { test } from "node:test";

import * as k8s from "@kubernetes/client-node";

import { authority, namespace, token, url } from "./cluster.js";

const config = new k8s.KubeConfig();
config.loadFromOptions({
  clusters: [{ name: "yare", server: url, caFile: authority }],
  users: [{ name: "admin", token }],
  contexts: [{ name: "yare", cluster: "yare", user: "admin" }],
  currentContext: "yare",
});
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);

const labels = { "made-by": "client-node" };
const labelSelector = "made-by=client-node";

function configMap(name: string, color: string): k8s.V1ConfigMap {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace, labels }, data: { color } };
}

/** Ends with the first call of done, and fails when there is none in time. */
function eventually<T>(what: string, start: (done: (value: T) => void, fail: (reason: unknown) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), 30_000);
    start(
      (value) => (clearTimeout(timer), resolve(value)),
      (reason) => (clearTimeout(timer), reject(reason)),
    );
  });
}

test("version, discovery and health", async () => {
  const version = await config.makeApiClient(k8s.VersionApi).getCode();
  assert.equal(`${version.major}.${version.minor}`, "1.37");
  const groups = await config.makeApiClient(k8s.ApisApi).getAPIVersions();
  assert.ok(groups.groups.some((group) => group.name === "apps"));
  assert.equal(await new k8s.Health(config).readyz({}), true);
});

test("an informer follows what is created, patched and deleted", async () => {
  const list = () => core.listNamespacedConfigMap({ namespace, labelSelector });
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, list, labelSelector);
  const seen: string[] = [];
  const ended = eventually<void>("the deletion", (done, fail) => {
    informer.on("add", (object) => seen.push(`add ${object.data?.["color"]}`));
    informer.on("update", (object) => seen.push(`update ${object.data?.["color"]}`));
    informer.on("delete", (object) => (seen.push(`delete ${object.data?.["color"]}`), done()));
    informer.on("error", fail);
  });
  await informer.start();
  await core.createNamespacedConfigMap({ namespace, body: configMap("informed", "green") });
  await core.patchNamespacedConfigMap(
    { namespace, name: "informed", body: [{ op: "replace", path: "/data/color", value: "blue" }] },
    k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.JsonPatch),
  );
  await core.deleteNamespacedConfigMap({ namespace, name: "informed" });
  await ended;
  await informer.stop();
  assert.deepEqual(seen, ["add green", "update blue", "delete blue"]);
});

test("a watch from a revision", async () => {
  const { metadata } = await core.listNamespacedConfigMap({ namespace, labelSelector });
  const query = { labelSelector, resourceVersion: metadata?.resourceVersion, allowWatchBookmarks: true };
  let end: AbortController | undefined;
  const color = await eventually<string>("an event", (done, fail) => {
    const follow = async () => {
      end = await new k8s.Watch(config).watch(
        `/api/v1/namespaces/${namespace}/configmaps`,
        query,
        (phase, object: k8s.V1ConfigMap) => phase === "ADDED" && done(object.data?.["color"] ?? ""),
        fail,
      );
      await core.createNamespacedConfigMap({ namespace, body: configMap("watched", "green") });
    };
    follow().catch(fail);
  });
  end?.abort();
  assert.equal(color, "green");
  await core.deleteNamespacedConfigMap({ namespace, name: "watched" });
});

test("errors are API exceptions with a Status", async () => {
  await assert.rejects(core.readNamespacedConfigMap({ namespace, name: "nobody" }), (error) => {
    assert.ok(error instanceof k8s.ApiException);
    assert.equal(error.code, 404);
    return true;
  });
});

test("objects of any kind: apply, read, list, patch, delete", async () => {
  const client = k8s.KubernetesObjectApi.makeApiClient(config);
  const deployment = k8s.loadYaml<k8s.V1Deployment>(`
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: applied, namespace: ${namespace}, labels: {made-by: client-node}}
    spec:
      replicas: 0
      selector: {matchLabels: {made-by: client-node}}
      template:
        metadata: {labels: {made-by: client-node}}
        spec: {containers: [{name: demo, image: "yare.local/demo:v1"}]}
  `);
  const applied = await client.patch(deployment, undefined, undefined, "client-node", true, k8s.PatchStrategy.ServerSideApply);
  assert.equal(applied.metadata?.managedFields?.[0]?.manager, "client-node");
  assert.equal(applied.spec?.template.spec?.containers[0]?.terminationMessagePath, "/dev/termination-log");
  const read = await client.read({ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "applied", namespace } });
  assert.equal(read.metadata?.uid, applied.metadata?.uid);
  const listed = await client.list("apps/v1", "Deployment", namespace, undefined, undefined, undefined, undefined, labelSelector);
  assert.equal(listed.items.length, 1);
  const scaled = await apps.patchNamespacedDeploymentScale(
    { namespace, name: "applied", body: { spec: { replicas: 2 } } },
    k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch),
  );
  assert.equal(scaled.spec?.replicas, 2);
  await client.delete(deployment, undefined, undefined, undefined, undefined, "Background");
});

test("custom objects", async () => {
  const client = config.makeApiClient(k8s.CustomObjectsApi);
  const widget = { group: "clients.yare.test", version: "v1", namespace, plural: "widgets" };
  const body = { apiVersion: "clients.yare.test/v1", kind: "Widget", metadata: { name: "custom", labels }, spec: { size: 1 } };
  await client.createNamespacedCustomObject({ ...widget, body });
  const listed = (await client.listNamespacedCustomObject({ ...widget, labelSelector })) as { items: unknown[] };
  assert.equal(listed.items.length, 1);
  await client.deleteNamespacedCustomObject({ ...widget, name: "custom" });
});

test("reviews of access, and tokens of service accounts", async () => {
  const access = await config.makeApiClient(k8s.AuthorizationV1Api).createSelfSubjectAccessReview({
    body: { spec: { resourceAttributes: { verb: "delete", resource: "nodes" } } },
  });
  assert.equal(access.status?.allowed, true);
  const request = await core.createNamespacedServiceAccountToken({
    namespace,
    name: "default",
    body: { spec: { audiences: [], expirationSeconds: 600 } } as k8s.AuthenticationV1TokenRequest,
  });
  const review = await config.makeApiClient(k8s.AuthenticationV1Api).createTokenReview({
    body: { spec: { token: request.status?.token ?? "" } },
  });
  assert.equal(review.status?.user?.username, `system:serviceaccount:${namespace}:default`);
});
