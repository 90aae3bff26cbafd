"""The real thing beside the simulated: etcd's servers and Bitcoin Core's consensus engine.

What is here needs the optional extra `live` and does input and output; no protocol imports it.
"""
