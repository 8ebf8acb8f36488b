// Writes TypeScript types of OpenAPI 3 documents: of each JSON file in the first
// directory a file of the same name in the second.
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";

import openapiTS, { astToString } from "openapi-typescript";

const [documents, types] = process.argv.slice(2);
await mkdir(types, { recursive: true });
for (const file of await readdir(documents)) {
  const document = JSON.parse(await readFile(join(documents, file), "utf8"));
  // A default says what the server fills in, not what its clients must send, and
  // an object without properties (a patch) is any object.
  const ast = await openapiTS(document, { defaultNonNullable: false, emptyObjectsUnknown: true });
  await writeFile(join(types, `${basename(file, ".json")}.ts`), astToString(ast));
}
