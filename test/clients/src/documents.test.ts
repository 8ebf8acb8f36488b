/** Independent validators read every OpenAPI document that the cluster serves. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import SwaggerParser from "@apidevtools/swagger-parser";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { Validator } from "@seriousme/openapi-schema-validator";

import { documents } from "./cluster.js";

interface Document extends Record<string, unknown> {
  paths: Record<string, Record<string, { operationId?: string }>>;
}

const served = new Map(
  ["v2", "v3"].flatMap((version) =>
    readdirSync(join(documents, version)).map((file) => [`${version}/${file}`, readFileSync(join(documents, version, file), "utf8")]),
  ),
);

async function eachDocument(check: (content: string, name: string) => Promise<string[]>): Promise<void> {
  assert.ok(served.size > 40, `only ${served.size} documents`);
  const problems: string[] = [];
  for (const [name, content] of served) {
    problems.push(...(await check(content, name)).map((problem) => `${name}: ${problem}`));
  }
  assert.deepEqual(problems.slice(0, 20), [], `${problems.length} problems`);
}

test("swagger-parser: schema and rules of the specification", () =>
  eachDocument(async (content) => {
    try {
      await SwaggerParser.validate(JSON.parse(content));
      return [];
    } catch (problem) {
      return [String(problem).slice(0, 2000)];
    }
  }));

// A definition's schema has a property named $ref, which this validator takes
// for a reference. It looks at references after everything else is valid.
const propertyNamedRef = "Can't resolve [object Object], only internal refs are supported.";

test("openapi-schema-validator: schema and references", () =>
  eachDocument(async (content) => {
    const { valid, errors } = await new Validator().validate(JSON.parse(content) as Document);
    return valid || errors === propertyNamedRef ? [] : [JSON.stringify(errors).slice(0, 2000)];
  }));

test("redocly: structure", async () => {
  const config = await createConfig({
    rules: {
      struct: "error",
      "no-unresolved-refs": "error",
      "no-identical-paths": "error",
      "no-duplicated-enum-values": "error",
      "no-enum-type-mismatch": "error",
      "no-schema-type-mismatch": "error",
      "no-mixed-number-range-constraints": "error",
      "no-required-schema-properties-undefined": "error",
      "operation-operationId": "error",
      "operation-operationId-unique": "error",
      "operation-operationId-url-safe": "error",
      "operation-parameters-unique": "error",
      "operation-2xx-response": "error",
      "operation-4xx-response": "error",
      "operation-description": "error",
      "operation-singular-tag": "error",
      "path-declaration-must-exist": "error",
      "path-not-include-query": "error",
      "path-parameters-defined": "error",
      "spec-strict-refs": "error",
    },
  });
  await eachDocument(async (content, name) => {
    const problems = await lintFromString({ source: content, absoluteRef: name, config });
    return problems.map((problem) => `${problem.ruleId}: ${problem.message} at ${problem.location[0]?.pointer}`);
  });
});

test("operation ids are those of one API", async () => {
  const whole = new Set<string>();
  await eachDocument(async (content, name) => {
    const ids = Object.values((JSON.parse(content) as Document).paths).flatMap((item) =>
      Object.values(item).flatMap((operation) => (operation?.operationId ? [operation.operationId] : [])),
    );
    assert.ok(ids.length > 0, `${name} has no operation`);
    if (name.startsWith("v2")) {
      ids.forEach((id) => whole.add(id));
      return [];
    }
    return ids.filter((id) => !whole.has(id)).map((id) => `${id} is not in OpenAPI 2`);
  });
});
