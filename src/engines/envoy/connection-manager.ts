/** What the HTTP connection manager must be told, so that paths arrive as the policy means them. */
export const CONNECTION_MANAGER = {
  // Conditions see the peer's own address: without this it is the one that the caller writes into X-Forwarded-For.
  use_remote_address: true,
  normalize_path: true,
  merge_slashes: true,
  path_with_escaped_slashes_action: 'REJECT_REQUEST',
} as const;
