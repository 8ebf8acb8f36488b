/** A client that is generated from the served documents works with the cluster. */
import assert from "node:assert/strict";
import { test } from "node:test";

import createClient from "openapi-fetch";

import { namespace, token, url } from "./cluster.js";
import type { components as AppsComponents, paths as Apps } from "./generated/apis_apps_v1.js";
import type { paths as Widgets } from "./generated/apis_clients.yare.test_v1.js";
import type { components as CoreComponents, paths as Core } from "./generated/api_v1.js";
import { events } from "./stream.js";

type ConfigMap = CoreComponents["schemas"]["io.k8s.api.core.v1.ConfigMap"];
type Deployment = AppsComponents["schemas"]["io.k8s.api.apps.v1.Deployment"];

const options = { baseUrl: url, headers: { Authorization: `Bearer ${token}` } };
const core = createClient<Core>(options);
const apps = createClient<Apps>(options);
const widgets = createClient<Widgets>(options);

const labels = { "made-by": "openapi-fetch" };
const labelSelector = "made-by=openapi-fetch";
const mergePatch = { "Content-Type": "application/merge-patch+json" } as const;

test("config maps: create, watch, list, patch, replace, delete", async () => {
  const path = { namespace };
  const before = await core.GET("/api/v1/namespaces/{namespace}/configmaps", { params: { path, query: { labelSelector } } });
  const resourceVersion = before.data?.metadata?.resourceVersion;
  assert.ok(resourceVersion);
  const watch = await core.GET("/api/v1/namespaces/{namespace}/configmaps", {
    params: { path, query: { labelSelector, watch: true, resourceVersion, timeoutSeconds: 30 } },
    parseAs: "stream",
  });
  assert.ok(watch.data);
  const seen = events<ConfigMap>(watch.data as unknown as ReadableStream<Uint8Array>);

  const created = await core.POST("/api/v1/namespaces/{namespace}/configmaps", {
    params: { path },
    body: { metadata: { name: "fetched", labels }, data: { color: "green" } },
  });
  assert.equal(created.response.status, 201);
  assert.equal(created.data?.kind, "ConfigMap");

  const listed = await core.GET("/api/v1/namespaces/{namespace}/configmaps", { params: { path, query: { labelSelector } } });
  assert.deepEqual(listed.data?.items.map((item) => item.metadata?.name), ["fetched"]);

  const one = { namespace, name: "fetched" };
  const patched = await core.PATCH("/api/v1/namespaces/{namespace}/configmaps/{name}", {
    params: { path: one },
    headers: mergePatch,
    body: { data: { color: "blue" } },
  });
  assert.equal(patched.data?.data?.["color"], "blue", JSON.stringify(patched.error));

  const replaced = await core.PUT("/api/v1/namespaces/{namespace}/configmaps/{name}", {
    params: { path: one },
    body: { ...(patched.data as ConfigMap), data: { color: "red" } },
  });
  assert.equal(replaced.data?.data?.["color"], "red");
  const stale = await core.PUT("/api/v1/namespaces/{namespace}/configmaps/{name}", {
    params: { path: one },
    body: patched.data as ConfigMap,
  });
  assert.equal(stale.response.status, 409);

  await core.DELETE("/api/v1/namespaces/{namespace}/configmaps/{name}", { params: { path: one } });
  const colors: string[] = [];
  for await (const { type, object } of seen) {
    colors.push(`${type} ${object.data?.["color"]}`);
    if (type === "DELETED") {
      break;
    }
  }
  assert.deepEqual(colors, ["ADDED green", "MODIFIED blue", "MODIFIED red", "DELETED red"]);
});

test("deployments: defaults, scale and status are typed", async () => {
  const deployment: Deployment = {
    metadata: { name: "fetched", labels },
    spec: {
      replicas: 0,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "demo", image: "yare.local/demo:v1" }] } },
    },
  };
  const created = await apps.POST("/apis/apps/v1/namespaces/{namespace}/deployments", { params: { path: { namespace } }, body: deployment });
  assert.equal(created.data?.spec?.strategy?.rollingUpdate?.maxSurge, "25%", JSON.stringify(created.error));

  const one = { namespace, name: "fetched" };
  const scaled = await apps.PATCH("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", {
    params: { path: one },
    headers: mergePatch,
    body: { spec: { replicas: 3 } },
  });
  assert.equal(scaled.data?.spec?.replicas, 3);

  const deleted = await apps.DELETE("/apis/apps/v1/namespaces/{namespace}/deployments", {
    params: { path: { namespace }, query: { labelSelector } },
  });
  assert.equal(deleted.response.status, 200);
});

test("custom resources: the schema of the definition is typed", async () => {
  const created = await widgets.POST("/apis/clients.yare.test/v1/namespaces/{namespace}/widgets", {
    params: { path: { namespace } },
    body: { apiVersion: "clients.yare.test/v1", kind: "Widget", metadata: { name: "fetched" }, spec: { size: 3 } },
  });
  assert.equal(created.data?.spec?.size, 3, JSON.stringify(created.error));
  assert.equal(created.data?.spec?.color, "green", "the schema's default");
  const refused = await widgets.POST("/apis/clients.yare.test/v1/namespaces/{namespace}/widgets", {
    params: { path: { namespace } },
    body: { apiVersion: "clients.yare.test/v1", kind: "Widget", metadata: { name: "huge" }, spec: { size: 1000 } },
  });
  assert.equal(refused.response.status, 422);
  const listed = await widgets.GET("/apis/clients.yare.test/v1/namespaces/{namespace}/widgets", { params: { path: { namespace } } });
  assert.deepEqual(listed.data?.items.map((item) => item.metadata?.name), ["fetched"]);
  await widgets.DELETE("/apis/clients.yare.test/v1/namespaces/{namespace}/widgets/{name}", { params: { path: { namespace, name: "fetched" } } });
});
