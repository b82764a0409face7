"""The order of a deployment, and what happens when a step fails.

    begin ▶ prepare ▶ release step ▶ start ▶ watch ▶ check routes ▶ clean up ▶ remember
                      │              │        └─ failed, timed out ▶ reverse ▶ watch, say why
                      │              └─ interrupted ▶ finish; the cluster goes on by itself, the
                      │                 next deploy takes it up
                      └─ failed ▶ finish; no replica was touched

Where services depend on one another, start and watch go in dependency order.

Nothing here knows which cluster it is.
"""
