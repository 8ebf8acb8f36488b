/** The cluster under test, as the driver describes it in the environment. */

export const url = required("YARE_URL");
/** A token of an administrator. */
export const token = required("YARE_TOKEN");
/** A PEM file, which Node.js trusts by NODE_EXTRA_CA_CERTS too. */
export const authority = required("YARE_CA");
/** A directory with the OpenAPI documents that the cluster serves: v2/ and v3/. */
export const documents = required("YARE_DOCUMENTS");
export const namespace = "default";

function required(name: string): string {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: run these tests with go test`);
  }
  return value;
}
