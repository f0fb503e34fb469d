/** Policies of a small shop. */
export const POLICIES = {
  cart: `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart, namespace: shop }
spec:
  protects: { workload: spiffe://example.org/ns/shop/sa/cart }
  tier: standard
  stage: shadow
  rules:
    - name: web
      from: [ { workload: spiffe://example.org/ns/shop/sa/web } ]
      to: [ { http: { methods: [GET], paths: [/items, /never] }, ports: [80] } ]
`,
} as const;
