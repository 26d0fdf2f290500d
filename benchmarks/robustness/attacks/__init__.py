"""What an attacker sends to the app: files, requests and connections, each bounded; see attack.py."""
